package yamlstrict

import "github.com/agnivade/levenshtein"

// nearest returns the key that was probably meant, or "" when none is close:
// more than a third of what was typed would have to change.
func nearest(typed string, keys []string) string {
	best, limit := "", len(typed)/3+1
	if len(typed) > maxKey {
		return ""
	}
	for _, key := range keys {
		if n := levenshtein.ComputeDistance(typed, key); n <= limit {
			best, limit = key, n-1
		}
	}
	return best
}

// maxKey bounds the work on a key that nobody typed.
const maxKey = 100
