package inspect

import (
	"regexp"
	"slices"
	"strings"
)

// ignoring is a comment that says which findings are meant, and why:
//
//	# lint ignore everything, no-limits: we are one company
var ignoring = regexp.MustCompile(`^lint ignore ([a-z-]+(?:, *[a-z-]+)*): *\S`)

// ignored says whether a comment on a finding's line, or on the one before, says
// that it is meant. One without a reason says nothing.
func (f *Folder) ignored(finding Finding) bool {
	for _, c := range f.Inventory.Comments {
		if c.Place.File != finding.Place.File || c.Place.Line != finding.Place.Line && c.Place.Line != finding.Place.Line-1 {
			continue
		}
		said := ignoring.FindStringSubmatch(c.Text)
		if said != nil && slices.Contains(strings.Split(strings.ReplaceAll(said[1], " ", ""), ","), string(finding.ID)) {
			return true
		}
	}
	return false
}
