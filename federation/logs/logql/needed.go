package logql

// needed are the labels that anything of an entry's is needed of; nil: all.
type needed struct{ names map[string]bool }
