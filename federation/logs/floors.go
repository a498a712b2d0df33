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
	if len(o.Functions) == 0 && o.Resolution == 0 {
		return nil
	}
	if !q.Entries() && q.Kind != policy.Instant && q.Kind != policy.Range {
		return checkSummaryFloors(q, o)
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

// asFunctions are the functions of LogQL that say the same as a kind of question.
var asFunctions = map[policy.Kind][]string{
	policy.Stats:  {string(logql.BytesOverTime), string(logql.CountOverTime)},
	policy.Volume: {string(logql.BytesOverTime)},
}

// checkSummaryFloors is checkFloors of questions that sum up what there is.
// Lines that aren't answered have no fields and patterns that are.
func checkSummaryFloors(q Question, o policy.Obligations) error {
	if q.Listing() {
		return nil
	}
	functions, numbers := asFunctions[q.Kind]
	refused := func(name string) bool { return !slices.Contains(o.Functions, name) }
	if len(o.Functions) > 0 && (!numbers || slices.ContainsFunc(functions, refused)) {
		return federation.Errorf(federation.NeedsAggregation, "%s is not answered, only numbers by %s", q.Kind, strings.Join(o.Functions, ", "))
	}
	if q.Step > 0 && q.Step < o.Resolution {
		return federation.Errorf(federation.NeedsAggregation, "policy says: one moment every %s; ask with a step that isn't shorter", o.Resolution)
	}
	if numbers && q.End.Sub(q.Start) < o.Resolution {
		return federation.Errorf(federation.NeedsAggregation, "policy says: one moment every %s; ask for a time that isn't shorter", o.Resolution)
	}
	return nil
}
