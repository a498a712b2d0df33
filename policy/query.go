package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Query is one the owner publishes: a partner asks it by name, as it asks a
// metric, and gives its parameters as matchers for equality:
//
//	service:availability:ratio{service="checkout", window="1h"}
//
// It is evaluated over the owner's store as it is, like a recording rule: what
// it releases is its author's to see to.
type Query struct {
	// Name is one a metric may have. No metric of that name is asked.
	Name string
	// Expression is PromQL in which $name stands for the parameter of that name.
	Expression string
	Parameters map[string]Parameter
	Rounding   Rounding
}

// ParameterType says what the values of a parameter are.
type ParameterType string

// The types of parameters.
const (
	Text     ParameterType = "string"
	Number   ParameterType = "number"
	Duration ParameterType = "duration"
)

// Parameter is what a partner may put into a query.
type Parameter struct {
	Type ParameterType
	// Values are those that may be given; empty leaves it to the others.
	Values []string
	// Pattern is what a Text has to match whole, where Values are none.
	Pattern *regexp.Regexp
	// Least and Most bound a Number, or the seconds of a Duration.
	Least, Most float64
	// Default is used when the parameter isn't given; empty says it has to be.
	Default string
}

// parameterIn is a parameter's place in an expression.
var parameterIn = regexp.MustCompile(`\$[a-zA-Z_][a-zA-Z0-9_]*`)

// Instantiate puts values into the expression. The error says which parameter
// is missing, not known or out of bounds.
func (q *Query) Instantiate(values map[string]string) (string, error) {
	for name := range values {
		if _, known := q.Parameters[name]; !known {
			return "", fmt.Errorf("%s has no parameter %s; it has %s", q.Name, name, q.parameters())
		}
	}
	for name, p := range q.Parameters {
		value, given := values[name]
		if !given {
			value = p.Default
		}
		if err := p.check(value); err != nil {
			return "", fmt.Errorf("%s: parameter %s: %w", q.Name, name, err)
		}
	}
	return parameterIn.ReplaceAllStringFunc(q.Expression, func(place string) string {
		name := place[1:]
		if value, given := values[name]; given {
			return value
		}
		return q.Parameters[name].Default
	}), nil
}

func (q *Query) parameters() string {
	if len(q.Parameters) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(q.Parameters)), ", ")
}

// check says what is wrong with a value.
func (p Parameter) check(value string) error {
	if value == "" {
		return fmt.Errorf("it has to be given")
	}
	if len(p.Values) > 0 {
		if !slices.Contains(p.Values, value) {
			return fmt.Errorf("want one of %s", strings.Join(p.Values, ", "))
		}
		return nil
	}
	var number float64
	switch p.Type {
	case Text:
		// The value stands within quotes.
		if strings.ContainsAny(value, "\"'`\\\n") || p.Pattern == nil || !p.Pattern.MatchString(value) {
			return fmt.Errorf("it does not match %s", p.Pattern)
		}
		return nil
	case Number:
		var err error
		if number, err = strconv.ParseFloat(value, 64); err != nil {
			return fmt.Errorf("want a number")
		}
	case Duration:
		d, err := model.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("want a duration such as 5m")
		}
		number = time.Duration(d).Seconds()
	}
	if !(number >= p.Least && number <= p.Most) { // false for NaN
		return fmt.Errorf("it is out of bounds")
	}
	return nil
}

// Check says what is wrong with a query as its author wrote it.
func (q *Query) Check() error {
	for _, place := range parameterIn.FindAllString(q.Expression, -1) {
		if _, known := q.Parameters[place[1:]]; !known {
			return fmt.Errorf("query %s: its expression has %s, which is not one of its parameters: %s", q.Name, place, q.parameters())
		}
	}
	example := *q
	example.Parameters = map[string]Parameter{}
	for name, p := range q.Parameters {
		if p.Default != "" {
			if err := p.check(p.Default); err != nil {
				return fmt.Errorf("query %s: the default of parameter %s: %w", q.Name, name, err)
			}
		}
		for _, v := range p.Values {
			if err := (Parameter{Type: p.Type, Pattern: anything, Most: maxNumber, Least: -maxNumber}).check(v); err != nil {
				return fmt.Errorf("query %s: a value of parameter %s: %w", q.Name, name, err)
			}
		}
		example.Parameters[name] = Parameter{Type: p.Type, Values: []string{p.example()}, Default: p.example()}
	}
	text, err := example.Instantiate(nil)
	if err != nil {
		return err
	}
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return fmt.Errorf("query %s: %s: %w", q.Name, text, err)
	}
	if err := example.checkQuotes(q.Parameters); err != nil {
		return err
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return fmt.Errorf("query %s: it gives a %s; want a vector or a number", q.Name, t)
	}
	return nil
}

// checkQuotes says which parameter, whose text a partner writes, stands outside
// of quotes: there it would be PromQL, over the store as it is. The query's own
// parameters are examples.
func (q *Query) checkQuotes(parameters map[string]Parameter) error {
	type place struct {
		name       string
		start, end int // in text
	}
	var text strings.Builder
	var places []place
	copied := 0
	for _, at := range parameterIn.FindAllStringIndex(q.Expression, -1) {
		name := q.Expression[at[0]+1 : at[1]]
		text.WriteString(q.Expression[copied:at[0]])
		copied = at[1]
		start := text.Len()
		text.WriteString(q.Parameters[name].Default)
		if p := parameters[name]; p.Type == Text && len(p.Values) == 0 {
			places = append(places, place{name, start, text.Len()})
		}
	}
	text.WriteString(q.Expression[copied:])
	var item parser.Item
	for lexer := parser.Lex(text.String()); len(places) > 0; places = places[1:] {
		for int(item.Pos)+len(item.Val) <= places[0].start && item.Typ != parser.EOF && item.Typ != parser.ERROR {
			lexer.NextItem(&item)
		}
		if item.Typ != parser.STRING || int(item.Pos) >= places[0].start || int(item.Pos)+len(item.Val) <= places[0].end {
			return fmt.Errorf("query %s: parameter %s has a pattern, so it has to stand within quotes; elsewhere give its values one by one", q.Name, places[0].name)
		}
	}
	return nil
}

const maxNumber = 1e300

var anything = regexp.MustCompile(`^(?s:.*)$`)

// example is a value that an expression can be parsed with.
func (p Parameter) example() string {
	switch {
	case p.Default != "":
		return p.Default
	case len(p.Values) > 0:
		return p.Values[0]
	case p.Type == Number:
		return "1"
	case p.Type == Duration:
		return "1h"
	}
	return "x"
}
