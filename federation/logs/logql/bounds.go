package logql

// The bounds of a query. They are far beyond what people and dashboards write,
// and keep what reads a query from being the attack: a few bytes of regular
// expression can be a program of a hundred megabytes.
const (
	maxText = 128 << 10 // bytes
	// maxNesting is how deep expressions, and label filters, may be nested.
	maxNesting = 500
	// maxOperators counts binary operators, and operators of label filters: a
	// chain of them is a tree as deep as it is long.
	maxOperators = 1000
	// maxStages is how many steps all pipelines of a query may have.
	maxStages = 1000
	// maxRepetitions is by how many instructions counted repetitions may make
	// regular expressions longer than they are written.
	maxRepetitions = 10_000
)
