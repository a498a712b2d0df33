package yamlstrict

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest returns the key that was probably meant, or "" when none is close:
// at most a third of what was typed may have to change, or else the key goes
// on where what was typed ends (cert, cert_file) or the other way round.
func Nearest(typed string, keys []string) string {
	if len(typed) > maxKey {
		return "" // nobody typed that; don't spend time on it
	}
	best, limit := "", len(typed)/3+1
	for _, key := range keys {
		if n := levenshtein.ComputeDistance(typed, key); n <= limit {
			best, limit = key, n-1
		}
	}
	if best != "" {
		return best
	}
	for _, key := range keys {
		if short := min(len(typed), len(key)); short >= minPrefix && strings.EqualFold(typed[:short], key[:short]) {
			return key
		}
	}
	return ""
}

const (
	maxKey    = 100
	minPrefix = 3
)
