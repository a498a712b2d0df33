package traceql

import (
	"github.com/google/go-cmp/cmp"
)

// Diff says how expressions differ. A compiled regular expression isn't part of
// them: its text is.
func Diff(a, b *Expr) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(Expr{}, Filter{}, operation{}, selectStage{}, countStage{}, comparison{}, logical{}, negation{}, Value{}, Attribute{}),
		cmp.Comparer(func(a, b *pattern) bool { return (a == nil) == (b == nil) }))
}
