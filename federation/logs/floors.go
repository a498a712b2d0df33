package logs

import (
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
)

// checkFloors refuses what obligations don't let be asked, by the question's
// text: functions that aren't answered, and steps and ranges that are shorter
// than the view's resolution.
func checkFloors(q Question, o policy.Obligations) error {
	if !q.queries() || len(o.Functions) == 0 && o.Resolution == 0 {
		return nil
	}
	expr, err := q.parse()
	if err != nil {
		return err
	}
	if len(o.Functions) > 0 {
		answered := strings.Join(o.Functions, ", ")
		if _, entries := expr.(*logql.LogSelector); entries {
			return federation.Errorf(federation.NeedsAggregation, "lines are not answered, only numbers by %s", answered)
		}
		for _, name := range logql.Functions(expr) {
			if !slices.Contains(o.Functions, name) {
				return federation.Errorf(federation.NeedsAggregation, "%s is not answered, only %s", name, answered)
			}
		}
	}
	if q.Step > 0 && q.Step < o.Resolution {
		return federation.Errorf(federation.NeedsAggregation, "policy says: one moment every %s; ask with a step that isn't shorter", o.Resolution)
	}
	for _, r := range logql.RangeAggregations(expr) {
		if r.Range < o.Resolution {
			return federation.Errorf(federation.NeedsAggregation, "policy says: one moment every %s; ask for ranges that aren't shorter", o.Resolution)
		}
	}
	return nil
}
