package metrics

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// differencing remembers in what alone a partner's questions differ. Two answers
// that differ in a matcher tell what it selects, and a literal that moves
// question by question finds a value by halves. It goes by the questions' text:
// what the store holds has no part in it. Its methods are safe for concurrent
// use.
type differencing struct {
	seed maphash.Seed

	mu sync.Mutex
	// forms are guarded by mu; those not asked for longest are forgotten.
	forms *lru.Cache[formKey, *variations]

	exceeded *prometheus.CounterVec // by partner and action
}

type formKey struct {
	by   tenants.OrgID
	form uint64
}

// variations are the literals seen in the place that a form leaves open, hashed,
// and when last. There are never more than the budget and one.
type variations map[uint64]time.Time

const (
	// maxForms bounds the memory: a form takes about 100 bytes and 50 for each of
	// its variations.
	maxForms = 50_000
	// maxSelectors is of how many of a question's selectors is kept account,
	// twice.
	maxSelectors = 200
)

func newDifferencing(r prometheus.Registerer) (*differencing, error) {
	forms, err := lru.New[formKey, *variations](maxForms)
	if err != nil {
		return nil, fmt.Errorf("memory of questions: %w", err)
	}
	d := &differencing{seed: maphash.MakeSeed(), forms: forms, exceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "parley_differencing_exceeded_total",
		Help: "Questions of partners beyond the number that may differ in little, by what became of them.",
	}, []string{"partner", "action"})}
	if r == nil {
		return d, nil
	}
	if err := r.Register(d.exceeded); err != nil {
		return nil, fmt.Errorf("memory of questions: %w", err)
	}
	return d, nil
}

// checkDifferencing refuses, or flags, one of too many questions that differ in
// little.
func (l *Local) checkDifferencing(ctx context.Context, expr parser.Expr, o policy.Obligations, by Asking) error {
	if o.Differencing.Budget == 0 || !l.differencing.exceeds(by.Org, expr, o.Differencing, l.config.Now()) {
		return nil
	}
	action := "flag"
	if o.Differencing.Refuse {
		action = "refuse"
	}
	l.differencing.exceeded.WithLabelValues(string(by.Org), action).Inc()
	l.config.Logger.WarnContext(ctx, "a partner asks many questions that differ in little", "partner", by.Org, "exchange", by.ExchangeID, "action", action)
	if !o.Differencing.Refuse {
		return nil
	}
	return federation.Errorf(federation.OverLimit, "more than %d questions differ in little, such as one matcher, range or number; at most so many are answered within %s",
		o.Differencing.Budget, model.Duration(o.Differencing.Within))
}

// exceeds remembers a question, and says whether with it the partner has asked
// more that have a form in common than the budget has.
func (d *differencing) exceeds(by tenants.OrgID, expr parser.Expr, b policy.Differencing, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	over := false
	for _, f := range formsOf(expr) {
		key := formKey{by, maphash.String(d.seed, f.form)}
		seen, ok := d.forms.Get(key)
		if !ok {
			seen = &variations{}
			d.forms.Add(key, seen)
		}
		for literal, at := range *seen {
			if now.Sub(at) > b.Within {
				delete(*seen, literal)
			}
		}
		literal := maphash.String(d.seed, f.literal)
		if _, known := (*seen)[literal]; known || len(*seen) < b.Budget {
			(*seen)[literal] = now
			continue
		}
		over = true
	}
	return over
}

// form is what questions have in common, and literal what one of them has in
// the place left open.
type form struct{ form, literal string }

// formsOf are the forms of a question: each of its selectors has those of its
// metric, whose matchers are open, and of itself, whose range and time are; and
// the whole has that of its numbers. A matcher or a modifier that selects nothing
// else makes another literal, so that there is no hiding behind it.
func formsOf(expr parser.Expr) []form {
	var out []form
	var numbers []*parser.NumberLiteral
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.NumberLiteral:
			numbers = append(numbers, n)
		case *parser.VectorSelector:
			if len(out) < maxSelectors {
				out = append(out, selectorForms(n, path)...)
			}
		}
		return nil
	})
	if len(numbers) == 0 {
		return out
	}
	literal := ""
	for _, n := range numbers {
		literal += strconv.FormatFloat(n.Val, 'g', -1, 64) + " "
		defer func(was float64) { n.Val = was }(n.Val)
		n.Val = 0
	}
	return append(out, form{form: "numbers " + expr.String(), literal: literal})
}

func selectorForms(n *parser.VectorSelector, path []parser.Node) []form {
	metric, _ := leaf{selector: n}.metric()
	selected := FormatSelector(n.LabelMatchers)
	times := (&parser.VectorSelector{OriginalOffset: n.OriginalOffset, Timestamp: n.Timestamp, StartOrEnd: n.StartOrEnd}).String()
	for _, above := range path {
		switch a := above.(type) {
		case *parser.MatrixSelector:
			times += a.Range.String()
		case *parser.SubqueryExpr:
			times += (&parser.SubqueryExpr{
				Expr: &parser.NumberLiteral{}, Range: a.Range, Step: a.Step, OriginalOffset: a.OriginalOffset, Timestamp: a.Timestamp, StartOrEnd: a.StartOrEnd,
			}).String()
		}
	}
	return []form{{form: "metric " + metric, literal: selected}, {form: "times " + selected, literal: times}}
}
