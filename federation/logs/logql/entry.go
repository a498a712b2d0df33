package logql

// preserveErrorLabel marks an entry whose problem is the query's to judge.
const preserveErrorLabel = "__preserve_error__"

// The labels that say what went wrong with an entry.
const (
	ErrorLabel        = "__error__"
	ErrorDetailsLabel = "__error_details__"
)
