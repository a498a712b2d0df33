package tenants

// QuotaSize is how many partners a quota remembers.
func QuotaSize(q *Quota) int { return len(q.partners) }

// Vocabulary is the built-in one.
var Vocabulary = vocabulary
