package logql

// The labels that say what went wrong with an entry.
const (
	ErrorLabel        = "__error__"
	ErrorDetailsLabel = "__error_details__"
)
