package journal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	namePrefix = "audit-"
	nameSuffix = ".jsonl"
)

// fileName is that of the file with a sequence number, from 1 up.
func fileName(seq int) string { return fmt.Sprintf("%s%08d%s", namePrefix, seq, nameSuffix) }

// sequences returns the numbers of the journal's files among names, ascending.
func sequences(names []string) []int {
	var out []int
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, namePrefix)
		if !ok {
			continue
		}
		if digits, ok = strings.CutSuffix(digits, nameSuffix); !ok {
			continue
		}
		seq, err := strconv.Atoi(digits)
		if err == nil && seq > 0 && fileName(seq) == name {
			out = append(out, seq)
		}
	}
	slices.Sort(out)
	return out
}
