package logql

// keywords can't be names of labels.
var keywords = map[string]bool{}
