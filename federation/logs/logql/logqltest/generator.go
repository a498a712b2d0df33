// Package logqltest makes random LogQL, and random entries that it finds
// something in, for comparing what answers it:
//
//	r := rand.New(rand.NewPCG(1, 2))
//	entries := logqltest.Entries(r, 1000, start, time.Second)
//	g := logqltest.New(r)
//	query := g.Metric()
//
// The same seed makes the same.
package logqltest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"github.com/parley-gateway/parley/federation/logs/logql"
)

// Generator makes queries over the whole grammar. It is not safe for
// concurrent use.
type Generator struct {
	r *rand.Rand
	// metric is set while a query of numbers is made, in which an entry with a
	// problem would fail all of it most of the time.
	metric bool
	// orgs are the values of a label org, if entries have one.
	orgs []string
}

// New is a Generator that draws from r.
func New(r *rand.Rand) *Generator { return &Generator{r: r} }

// Across is a Generator whose queries also ask for the label org, which has
// the given values.
func Across(r *rand.Rand, orgs ...string) *Generator { return &Generator{r: r, orgs: orgs} }

// Log makes a log query.
func (g *Generator) Log() string {
	g.metric = false
	return g.selector() + g.stages(g.r.IntN(5))
}

// Range makes a range aggregation.
func (g *Generator) Range() string {
	g.metric = true
	return g.rangeAggregation()
}

// SumOfRange makes a range aggregation that is summed right away, of which
// Loki reads fewer labels.
func (g *Generator) SumOfRange() string {
	g.metric = true
	inner := g.rangeAggregationOf(one(g, logql.Rate, logql.CountOverTime, logql.BytesRate, logql.BytesOverTime, logql.SumOverTime))
	names := g.labels(2)
	if g.chance(5) {
		names = "__error__"
	}
	switch g.r.IntN(4) {
	case 0:
		return "sum(" + inner + ")"
	case 1:
		return "sum without (" + names + ") (" + inner + ")"
	default:
		return "sum by (" + names + ") (" + inner + ")"
	}
}

// Metric makes a query of numbers: range aggregations and what is above them.
func (g *Generator) Metric() string {
	g.metric = true
	query := g.expression(1 + g.r.IntN(3))
	if g.chance(8) {
		// Which of equal ones are among them is nobody's to say, so that nothing
		// depends on it.
		grouping := one(g, "", " by (org) ", " by ("+g.label()+") ")
		return fmt.Sprintf("%s%s(%d, %s)", one(g, logql.TopK, logql.BottomK), grouping, 1+g.r.IntN(4), query)
	}
	return query
}

func one[T any](g *Generator, of ...T) T { return of[g.r.IntN(len(of))] }

// chance is one in n.
func (g *Generator) chance(n int) bool { return g.r.IntN(n) == 0 }

func (g *Generator) expression(depth int) string {
	if depth == 0 {
		return g.rangeAggregation()
	}
	switch g.r.IntN(10) {
	case 0, 1, 2, 3:
		return g.vectorAggregation(depth)
	case 4, 5:
		return g.binary(depth)
	case 6:
		return fmt.Sprintf("label_replace(%s, %q, %q, %q, %q)", g.expression(depth-1), one(g, "target", "level", "app"), one(g, "$1", "x-$1", "fixed", ""),
			g.label(), one(g, "(.*)", "(.).*", "nothing", ".+"))
	case 7:
		return "(" + g.expression(depth-1) + ")"
	default:
		return g.rangeAggregation()
	}
}

func (g *Generator) vectorAggregation(depth int) string {
	inner := g.expression(depth - 1)
	grouping := ""
	if !g.chance(4) {
		grouping = one(g, "by", "by", "without") + " (" + g.labels(2) + ") "
	}
	switch op := one(g, logql.Sum, logql.Avg, logql.Min, logql.Max, logql.Count, logql.Stddev, logql.Stdvar, logql.Sort, logql.SortDesc); op {
	case logql.Sort, logql.SortDesc:
		return fmt.Sprintf("%s(%s)", op, inner)
	default:
		if g.chance(2) {
			return fmt.Sprintf("%s(%s) %s", op, inner, grouping)
		}
		return fmt.Sprintf("%s %s(%s)", op, grouping, inner)
	}
}

func (g *Generator) binary(depth int) string {
	op := one(g, "+", "-", "*", "/", "%", "^", "==", "!=", ">", ">=", "<", "<=", "and", "or", "unless")
	comparison := strings.ContainsAny(op, "=<>!")
	modifier := ""
	if comparison && g.chance(2) {
		modifier = " bool"
	}
	if number := strconv.FormatFloat(float64(g.r.IntN(50))/4, 'g', -1, 64); len(op) <= 2 && op != "or" && g.chance(2) {
		if g.chance(2) {
			return fmt.Sprintf("%s %s%s %s", number, op, modifier, g.expression(depth-1))
		}
		return fmt.Sprintf("%s %s%s %s", g.expression(depth-1), op, modifier, number)
	}
	// Both sides grouped alike match one to one.
	names := g.labels(1)
	left := fmt.Sprintf("%s by (%s) (%s)", one(g, "sum", "max", "count"), names, g.expression(depth-1))
	right := fmt.Sprintf("%s by (%s) (%s)", one(g, "sum", "min", "avg"), names, g.expression(depth-1))
	if g.chance(3) {
		modifier += " on (" + names + ")"
		if len(op) <= 2 && op != "or" && g.chance(3) {
			modifier += one(g, " group_left", " group_right ()", " group_left ()")
		}
	}
	return fmt.Sprintf("%s %s%s %s", left, op, modifier, right)
}

func (g *Generator) labels(most int) string {
	var names []string
	for range g.r.IntN(most + 1) {
		names = append(names, g.label())
	}
	return strings.Join(names, one(g, ",", ", "))
}

func (g *Generator) rangeAggregation() string {
	ops := []logql.RangeOp{
		logql.Rate, logql.CountOverTime, logql.BytesRate, logql.BytesOverTime, logql.AbsentOverTime, logql.RateCounter,
		logql.SumOverTime, logql.AvgOverTime, logql.MinOverTime, logql.MaxOverTime, logql.StdvarOverTime, logql.StddevOverTime,
		logql.QuantileOverTime, logql.FirstOverTime, logql.LastOverTime,
	}
	return g.rangeAggregationOf(one(g, ops...))
}

func (g *Generator) rangeAggregationOf(op logql.RangeOp) string {
	unwraps := true
	switch op {
	case logql.CountOverTime, logql.BytesRate, logql.BytesOverTime:
		unwraps = false
	case logql.Rate, logql.AbsentOverTime:
		unwraps = g.chance(3)
	}
	parameter, unwrap, grouping, offset := "", "", "", ""
	if op == logql.QuantileOverTime {
		parameter = one(g, "0.5", "0.99", "0", "1", ".25") + ", "
	}
	stages := g.stages(g.r.IntN(4))
	if unwraps {
		stages += one(g, " | json", " | logfmt", "", " | json | drop trace, span")
		unwrap = g.unwrap()
	} else {
		stages += one(g, "", ` | __error__=""`, ` | __error__ = ""`, " | drop __error__, __error_details__")
	}
	window := "[" + one(g, "5s", "10s", "30s", "1m", "90s", "2m30s") + "]"
	if g.chance(4) {
		offset = " offset " + one(g, "10s", "1m", "-10s")
	}
	selector := g.selector()
	var inner string
	switch g.r.IntN(5) {
	case 0:
		inner = selector + window + offset + stages + unwrap
	case 1:
		inner = "(" + selector + stages + unwrap + ")" + window + offset
	default:
		inner = selector + stages + unwrap + window + offset
	}
	switch op {
	case logql.AvgOverTime, logql.MinOverTime, logql.MaxOverTime, logql.StdvarOverTime, logql.StddevOverTime, logql.QuantileOverTime,
		logql.FirstOverTime, logql.LastOverTime:
		if g.chance(2) {
			grouping = " " + one(g, "by", "by", "without") + " (" + g.labels(2) + ")"
		}
	}
	return fmt.Sprintf("%s(%s%s)%s", op, parameter, inner, grouping)
}

func (g *Generator) unwrap() string {
	label := one(g, "duration_ms", "size", "latency", "status", "amount", "count", "status_extracted")
	unwrap := label
	switch {
	case label == "latency" && !g.chance(5):
		unwrap = one(g, "duration", "duration_seconds") + "(" + label + ")"
	case label == "size" && !g.chance(5):
		unwrap = "bytes(" + label + ")"
	}
	filter := ` | __error__=""`
	switch g.r.IntN(8) {
	case 0:
		filter += " | " + g.labelFilter(1)
	case 1:
		filter = " | " + g.labelFilter(1) + filter
	case 2:
		filter = ""
	}
	return " | unwrap " + unwrap + filter
}

func (g *Generator) selector() string {
	var matchers []string
	matchers = append(matchers, one(g, `app="shop"`, `app=~"shop|pay"`, `app=~".+"`, `app!=""`, `env="prod"`, `env=~"p.*"`, `format="json"`, `format="logfmt"`, `format=~".+"`))
	for g.chance(3) {
		matchers = append(matchers, one(g, `env!="dev"`, `env=~"prod|dev"`, `app!~"a.*"`, `format!="plain"`, `format=~"json|logfmt|odd"`, `none=""`, `env!~"x"`))
	}
	if len(g.orgs) > 0 && g.chance(3) {
		matchers = append(matchers, "org"+one(g, "=", "!=", "=~")+strconv.Quote(one(g, g.orgs...)), `org=~".+"`)
	}
	return "{" + strings.Join(matchers, one(g, ",", ", ")) + "}"
}

// quoted is s as one of LogQL's strings.
func (g *Generator) quoted(s string) string {
	if g.chance(3) && !strings.Contains(s, "`") {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

func (g *Generator) label() string {
	if len(g.orgs) > 0 && g.chance(6) {
		return "org"
	}
	return one(g, "app", "env", "format", "pod", "trace", "level", "status", "duration_ms", "latency", "size", "amount", "user_id", "user_name", "method", "addr",
		"count", "msg", "level_extracted", "none", "a", "b")
}

// setting are stages that may set labels.
var setting = regexp.MustCompile(`^\| (json|logfmt|regexp|pattern|unpack|label_format)`)

var bareLogfmt = regexp.MustCompile(`^\| logfmt( --\S+)*$`)

func (g *Generator) stages(n int) string {
	var b strings.Builder
	before, sets := "", false
	for range n {
		stage := g.stage()
		if choice := strings.HasPrefix(before, "| drop") || strings.HasPrefix(before, "| keep"); choice && stage[0] == '!' {
			continue // != would be of the last label
		}
		// What logfmt extracts of a key that is a label already, or that isn't
		// needed, depends in Loki on the lines before and the keys before.
		if isLogfmt := strings.HasPrefix(stage, "| logfmt"); isLogfmt && (sets || g.metric) && !bareLogfmt.MatchString(stage) {
			continue
		}
		sets = sets || setting.MatchString(stage)
		b.WriteString(one(g, " ", " ", "\n", "  "))
		b.WriteString(stage)
		before = stage
	}
	return b.String()
}

func (g *Generator) stage() string {
	switch g.r.IntN(20) {
	case 0, 1, 2, 3:
		return g.lineFilter()
	case 4, 5:
		return g.jsonParser()
	case 6, 7:
		return g.logfmtParser()
	case 8:
		return "| regexp " + g.quoted(one(g, `(?P<method>GET|POST) (?P<path>\S+)`, `level=(?P<level>\w+)`, `(?P<a>\d+)(?P<b>x)?`, `"status":(?P<status>\d+)`, `^(?P<level>\w+) .*? (?P<addr>[0-9.]+)`))
	case 9:
		return "| pattern " + g.quoted(one(g, `<level> <method> <path> <status> <_>`, `<_>level=<level> <_>`, `<a> - <b>`, `{"level":"<level>"<_>`, `<a>"<b>"<_>`, `<level> <_> from <addr> in <latency>`))
	case 10:
		return "| unpack"
	case 11, 12, 13, 14:
		return "| " + g.labelFilter(2)
	case 15:
		return "| line_format " + g.quoted(g.template())
	case 16:
		return "| label_format " + g.labelFormat()
	case 17:
		return "| decolorize"
	case 18:
		return "| drop " + g.choices()
	default:
		return "| keep " + g.choices()
	}
}

func (g *Generator) lineFilter() string {
	op := one(g, "|=", "|=", "!=", "|~", "!~", "|>", "!>")
	var alternatives []string
	if op == "|=" && g.chance(6) {
		return "|= ip(" + g.quoted(g.addresses()) + ")"
	}
	for more := true; more; more = g.chance(4) {
		var a string
		switch {
		case op == "!=" && g.chance(4):
			a = "ip(" + g.quoted(g.addresses()) + ")"
		case op == "|=" || op == "!=":
			a = g.quoted(one(g, "error", "timeout", "level=", `"status":500`, "GET", "é", "a", "10.", "\n", "{", "zzz", "info", ""))
		case op == "|~" || op == "!~":
			a = g.quoted(one(g, "err|time", "(?i)ERROR", `status["=:]+5\d\d`, "^{.*}$", `\d+ms`, "a.c", "^$", "GET.*200", "(?i)é", "x*", "^level", "timeout$", "error", "(error|info)"))
		default:
			a = g.quoted(one(g, "<_>error<_>", "<_>level=<_>", "{<_>}", "<_> <_> <_>", "level=<_> <_>", "<_>timeout", "GET <_>", "error", "<_>", "<_>\"status\":<_>,<_>"))
		}
		alternatives = append(alternatives, a)
	}
	return op + one(g, " ", "") + strings.Join(alternatives, " or ")
}

func (g *Generator) addresses() string {
	return one(g, "10.0.0.0/8", "10.0.0.1", "10.0.0.1-10.0.0.200", "192.168.1.0/24", "::1", "2001:db8::/32", "0.0.0.0/0")
}

// onlySet says that labels aren't to be empty: to an engine of PromQL one that
// is empty isn't there.
func (g *Generator) onlySet() bool { return g.metric && len(g.orgs) > 0 }

func (g *Generator) jsonParser() string {
	if g.onlySet() || !g.chance(3) {
		return "| json"
	}
	var all []string
	for more := true; more; more = g.chance(2) {
		all = append(all, one(g, `level`, `level="level"`, `user_id="user.id"`, `a="tags[0]"`, `a="items[1].name"`, `b="user"`, `b="tags"`, `app="app"`, `status="status"`,
			`duration_ms="duration_ms"`, `a="[\"user\"].name"`, `count="none.such"`, `msg="msg"`, `pod="level"`))
	}
	return "| json " + strings.Join(all, ", ")
}

func (g *Generator) logfmtParser() string {
	flags := ""
	if g.chance(4) {
		flags += " --strict"
	}
	if !g.onlySet() && g.chance(4) {
		flags += " --keep-empty"
	}
	if !g.chance(4) {
		return "| logfmt" + flags
	}
	// Which of two labels of one key gets it is left to chance by Loki.
	seen := map[string]bool{}
	var all []string
	for more := true; more; more = g.chance(2) {
		x := one(g, `level`, `a="count"`, `user_id="user"`, `b="msg"`, `app="app"`, `status="status"`, `count="none"`, `pod="method"`, `latency`)
		if !seen[x] {
			all = append(all, x)
		}
		seen[x] = true
	}
	return "| logfmt" + flags + " " + strings.Join(all, ", ")
}

func (g *Generator) labelFilter(depth int) string {
	if depth > 0 && g.chance(3) {
		left, right := g.labelFilter(depth-1), g.labelFilter(depth-1)
		switch g.r.IntN(5) {
		case 0:
			return left + ", " + right
		case 1:
			return left + " and " + right
		case 2:
			return "(" + left + " or " + right + ")"
		case 3:
			return left + " and (" + right + ")"
		default:
			return left + " or " + right
		}
	}
	compare := one(g, "==", "=", "!=", ">", ">=", "<", "<=")
	switch g.r.IntN(10) {
	case 0, 1, 2:
		return g.label() + one(g, "=", "!=") + g.quoted(one(g, "error", "info", "prod", "shop", "", "500", "u-1", "GET"))
	case 3, 4:
		return g.label() + one(g, "=~", "!~") + g.quoted(one(g, "err.*", "info|warn", ".+", ".*", "", "5..", "u-[12]", ".*r", "rro.*", ".*", "err(or|x.*)", "war|war.*", ".*n.*|x"))
	case 5, 6:
		return one(g, "status", "duration_ms", "count", "amount", "level", "none") + compare + one(g, "500", "0", "12.5", "-1", "1e2", "200")
	case 7:
		return one(g, "latency", "duration_ms", "level", "none") + " " + compare + " " + one(g, "10ms", "1s", "1h30m", "500us", "-5ms")
	case 8:
		return one(g, "size", "status", "level", "none") + " " + compare + " " + one(g, "20KB", "1MiB", "500B", "1.5KB")
	default:
		if g.metric || g.chance(2) {
			return one(g, `__error__=""`, `__error__!="JSONParserErr"`, `__error__=~".*"`, `__error__!~"Log.*"`, `__error__!=""`)
		}
		return one(g, "addr", "level", "none") + one(g, "=", "!=") + "ip(" + g.quoted(g.addresses()) + ")"
	}
}

func (g *Generator) template() string {
	var b strings.Builder
	for more := true; more; more = g.chance(2) {
		b.WriteString(one(g, "", " ", "x=", "é ", "\n"))
		b.WriteString(g.action())
	}
	return b.String()
}

func (g *Generator) action() string {
	l := "." + g.label()
	text := one(g, l, l, "__line__", `"text"`)
	number := one(g, ".status", ".duration_ms", ".count", "3", `"4.5"`)
	return one(g,
		"{{"+l+"}}", "{{"+l+"}}", "{{ "+l+" }}", "{{__line__}}",
		"{{ "+text+" | "+one(g, "upper", "lower", "title", "ToUpper", "ToLower", "TrimSpace", "trim", "urlencode", "b64enc", "b64enc | b64dec", "urlencode | urldecode", "printf `%s!`", "len")+" }}",
		"{{ "+text+" | "+one(g, "trunc 3", "trunc -3", "substr 1 4", "repeat 2", "indent 2", "nindent 2", "alignLeft 8", "alignRight 8", "trimAll `e`", "trimPrefix `e`", "trimSuffix `r`",
			"replace `e` `E`", "default `none`", "printf `%8s|%-4q`"+` "x"`, "contains `rr`", "hasPrefix `e`", "hasSuffix `r`", "count `[a-e]`")+" }}",
		"{{ "+one(g, "Replace "+text+" `e` `_` 1", "Trim "+text+" `er`", "TrimLeft "+text+" `e`", "TrimRight "+text+" `r`", "TrimPrefix "+text+" `e`", "TrimSuffix "+text+" `r`",
			"regexReplaceAll `(e)(.)` "+text+" `$2$1`", "regexReplaceAllLiteral `(e)(.)` "+text+" `$1`")+" }}",
		"{{ "+one(g, "add", "sub", "mul", "div", "mod", "max", "min")+" (int "+number+") 7 }}",
		"{{ "+one(g, "addf", "subf", "mulf", "divf", "maxf", "minf")+" "+number+" 2.5 }}",
		"{{ "+one(g, "ceil", "floor", "int", "float64")+" "+number+" }}", "{{ round "+number+" 1 }}",
		"{{ "+one(g, "bytes .size", "duration .latency", "duration_seconds .latency", "duration `1m`", "bytes `2KB`")+" }}",
		"{{ __timestamp__ | "+one(g, "unixEpoch", "unixEpochMillis", "unixEpochNanos", "date `2006-01-02T15:04:05`")+" }}",
		"{{ if "+one(g, "eq "+l+" `error`", "contains `e` "+text, "and (hasPrefix `i` "+text+") (ne .app `x`)", l)+" }}yes{{ else }}no{{ end }}",
		"{{ with "+l+" }}[{{ . }}]{{ end }}",
		"{{ range $i, $e := fromJson `[\"x\",2,null]` }}{{ $i }}={{ $e }};{{ end }}",
		"{{ $x := "+text+" }}{{ $x }}{{ $x }}",
		"{{ toDate `2006-01-02` `2026-01-02` | unixEpoch }}", "{{ toDateInZone `2006-01-02` `UTC` `2026-01-02` | unixEpoch }}", "{{ unixToTime `1767323000` | unixEpoch }}",
	)
}

func (g *Generator) labelFormat() string {
	var all []string
	seen := map[string]bool{}
	for more := true; more; more = g.chance(3) {
		label := one(g, "a", "b", "level", "app", "pod", "status", "target")
		if seen[label] {
			break
		}
		seen[label] = true
		if g.chance(2) {
			all = append(all, label+"="+g.label())
		} else {
			all = append(all, label+"="+g.quoted(g.template()))
		}
	}
	return strings.Join(all, one(g, ",", ", "))
}

func (g *Generator) choices() string {
	var all []string
	for more := true; more; more = g.chance(2) {
		c := one(g, g.label(), g.label(), g.label(), "__error__", "__error_details__")
		if g.chance(4) {
			c += one(g, "=", "!=", "=~", "!~") + g.quoted(one(g, "error", "prod", "info|error", "", ".+"))
		}
		all = append(all, c)
	}
	return strings.Join(all, one(g, ",", ", "))
}
