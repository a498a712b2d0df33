package rego

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/policy"
)

// queryDocument is a published query in a decision.
type queryDocument struct {
	Name, Expr string
	Parameters map[string]parameterDocument
	Round      struct {
		Digits int
		Base   float64
	}
}

type parameterDocument struct {
	Type        policy.ParameterType
	Values      []string
	Pattern     *string
	Least, Most *string
	Default     string
}

func (d queryDocument) query() (policy.Query, error) {
	q := policy.Query{
		Name: d.Name, Expression: d.Expr,
		Parameters: make(map[string]policy.Parameter, len(d.Parameters)),
		Rounding:   policy.Rounding{Digits: d.Round.Digits, Base: d.Round.Base},
	}
	for name, p := range d.Parameters {
		out := policy.Parameter{Type: p.Type, Values: p.Values, Default: p.Default, Least: math.Inf(-1), Most: math.Inf(1)}
		if p.Pattern != nil {
			re, err := regexp.Compile("^(?s:" + *p.Pattern + ")$")
			if err != nil {
				return q, fmt.Errorf("query %s: the pattern of parameter %s: %w", d.Name, name, err)
			}
			out.Pattern = re
		}
		for text, bound := range map[*string]*float64{p.Least: &out.Least, p.Most: &out.Most} {
			if text == nil {
				continue
			}
			v, err := bounds(p.Type, *text)
			if err != nil {
				return q, fmt.Errorf("query %s: a bound of parameter %s: %w", d.Name, name, err)
			}
			*bound = v
		}
		q.Parameters[name] = out
	}
	return q, q.Check()
}

// bounds reads the least or the most of a number or a duration.
func bounds(t policy.ParameterType, text string) (float64, error) {
	if t == policy.Duration {
		d, err := model.ParseDuration(text)
		return time.Duration(d).Seconds(), err
	}
	return strconv.ParseFloat(text, 64)
}
