package tenants

// QuotaSize is how many partners a quota remembers.
func QuotaSize(q *Quota) int { return len(q.partners) }
