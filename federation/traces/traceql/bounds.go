package traceql

// The bounds of a query: those of package logql, for the same reasons.
const (
	maxText = 128 << 10 // bytes
	// maxNesting is how deep parentheses and negations may be nested.
	maxNesting = 500
	// maxOperators counts operators of filters and between them: a chain of them is
	// a tree as deep as it is long.
	maxOperators = 1000
	// maxRepetitions is by how many instructions counted repetitions may make
	// regular expressions longer than they are written.
	maxRepetitions = 10_000
)
