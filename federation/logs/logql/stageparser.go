package logql

import (
	"github.com/prometheus/prometheus/model/labels"
)

// pipeline reads stages, up to an unwrap.
func (p *parser) pipeline() []Stage {
	var stages []Stage
	for p.err == nil {
		t := p.peek()
		if t.kind != mark || p.atUnwrap() {
			break
		}
		switch op := LineFilterOp(t.value); op {
		case Contains, NotContains, MatchesRegexp, MatchesRegexpN, MatchesPattern, NotPattern:
			p.next()
			stages = append(stages, p.lineFilter(op))
			continue
		}
		if !t.is("|") {
			break
		}
		p.countStage(p.next())
		stages = append(stages, p.stage())
	}
	return stages
}

func (p *parser) countStage(t token) {
	p.stages++
	if p.stages > maxStages {
		p.fail(t, "the query has more than the %d stages accepted", maxStages)
	}
}

func (p *parser) lineFilter(op LineFilterOp) Stage {
	f := &LineFilter{Op: op}
	start, ip := p.peek(), false
	for more := true; more && p.err == nil; more = p.acceptWord("or") {
		p.countStage(p.peek())
		a := p.linePattern(op)
		ip = ip || a.IP
		f.Alternatives = append(f.Alternatives, a)
	}
	if ip && op == Contains && len(f.Alternatives) > 1 {
		p.fail(start, "ip() can't be one of several alternatives of |=, where Loki would look for its text and not for addresses")
	}
	return f
}

func (p *parser) linePattern(op LineFilterOp) LinePattern {
	t := p.peek()
	if p.acceptWord("ip") {
		if op != Contains && op != NotContains {
			p.fail(t, "ip() can follow |= and != only, not %s", op)
		}
		return LinePattern{Text: p.address(), IP: true}
	}
	l := LinePattern{Text: p.text("or ip(), to look for in lines")}
	if p.err != nil {
		return l
	}
	switch op {
	case MatchesRegexp, MatchesRegexpN:
		p.checkRe(t, l.Text)
	case MatchesPattern, NotPattern:
		if _, err := parsePattern(l.Text, true); err != nil {
			p.fail(t, "%s is not a pattern: %s", t, err)
		}
	}
	return l
}

// address reads what is in ip(...).
func (p *parser) address() string {
	p.expect("(", "after ip")
	t := p.peek()
	pattern := p.text("an address, a range of them or a prefix")
	p.expect(")", "to close ip")
	if p.err == nil {
		if _, err := parseAddresses(pattern); err != nil {
			p.fail(t, "%s is not an address, a range such as 10.0.0.1-10.0.0.9 or a prefix such as 10.0.0.0/8", t)
		}
	}
	return pattern
}

func (p *parser) stage() Stage {
	t := p.peek()
	if t.kind != word {
		return &LabelFilterStage{Filter: p.labelFilter()}
	}
	switch t.lower {
	case "json":
		p.next()
		return &JSONParser{Extract: p.extractions(checkJSONPath)}
	case "logfmt":
		p.next()
		l := &LogfmtParser{}
		for p.peek().kind == flag {
			p.logfmtFlag(l)
		}
		l.Extract = p.extractions(checkLogfmtKey)
		return l
	case "regexp":
		p.next()
		return p.regexpParser()
	case "pattern":
		p.next()
		t := p.peek()
		parser := &PatternParser{Pattern: p.text("the pattern of lines")}
		if p.err == nil {
			if _, err := parsePattern(parser.Pattern, false); err != nil {
				p.fail(t, "%s is not a pattern: %s", t, err)
			}
		}
		return parser
	case "unpack":
		p.next()
		return &UnpackParser{}
	case "decolorize":
		p.next()
		return &Decolorize{}
	case "line_format":
		p.next()
		return &LineFormat{Template: p.template()}
	case "label_format":
		p.next()
		return p.labelFormat()
	case "keep":
		p.next()
		return &Keep{Labels: p.labelChoices()}
	case "drop":
		p.next()
		return &Drop{Labels: p.labelChoices()}
	case "unwrap", "distinct":
		p.fail(t, "%s isn't accepted here", t)
		return &Decolorize{}
	default:
		return &LabelFilterStage{Filter: p.labelFilter()}
	}
}

func (p *parser) logfmtFlag(l *LogfmtParser) {
	switch t := p.next(); t.value {
	case "--strict":
		l.Strict = true
	case "--keep-empty":
		l.KeepEmpty = true
	default:
		p.fail(t, "%s is not a flag of logfmt; --strict and --keep-empty are", t)
	}
}

// extractions reads the parameters of json and logfmt, if there are any.
func (p *parser) extractions(check func(string) error) []Extraction {
	var all []Extraction
	for p.err == nil && p.peek().kind == word {
		e := Extraction{Label: p.label("to extract")}
		e.Expression = e.Label
		if p.accept("=") {
			t := p.peek()
			e.Expression = p.text("the expression to extract " + e.Label + " by")
			if p.err == nil {
				if err := check(e.Expression); err != nil {
					p.fail(t, "%s is not an expression to extract a label by: %s", t, err)
				}
			}
		}
		all = append(all, e)
		if !p.accept(",") {
			return all
		}
		if t := p.peek(); t.kind != word {
			p.fail(t, "expected a label to extract after the comma, not %s", t)
		}
	}
	return all
}

func (p *parser) regexpParser() Stage {
	t := p.peek()
	r := &RegexpParser{Re: p.text("the regular expression of lines")}
	if p.err != nil {
		return r
	}
	if re := p.checkRe(t, r.Re); re != nil {
		if err := checkGroups(re); err != nil {
			p.fail(t, "%s", err)
		}
	}
	return r
}

func (p *parser) template() string {
	t := p.peek()
	source := p.text("a template")
	if p.err == nil {
		if err := checkTemplate(source); err != nil {
			p.fail(t, "%s", err)
		}
	}
	return source
}

func (p *parser) labelFormat() Stage {
	l := &LabelFormat{}
	set := map[string]bool{}
	for p.err == nil {
		t := p.peek()
		f := Format{Label: p.label("to set")}
		p.expect("=", "after the label to set")
		if p.peek().kind == word {
			f.Rename, f.Source = true, p.label("to rename")
		} else {
			f.Source = p.template()
		}
		switch {
		case f.Label == ErrorLabel:
			p.fail(t, "%s can't be set", t)
		case set[f.Label]:
			p.fail(t, "%s is set twice in one label_format; write two", t)
		}
		set[f.Label] = true
		l.Formats = append(l.Formats, f)
		if !p.accept(",") {
			break
		}
	}
	return l
}

// labelChoices reads the labels of keep and drop.
func (p *parser) labelChoices() []LabelChoice {
	var all []LabelChoice
	for p.err == nil {
		c := LabelChoice{Name: p.label("to keep or drop")}
		op := p.peek()
		if typ, ok := matchTypes[op.value]; ok && op.kind == mark {
			p.next()
			value := p.peek()
			c.Matcher = p.newMatcher(typ, c.Name, p.text("to compare the label with"), value)
		}
		all = append(all, c)
		if !p.accept(",") {
			break
		}
	}
	return all
}

func (p *parser) labelFilter() LabelFilter { return p.labelConditions(0) }

// labelConditions reads conditions and the operators between them that bind
// more strongly than floor. A comma, and nothing, is an and whose right side is
// all that follows.
func (p *parser) labelConditions(floor int) LabelFilter {
	defer p.deeper(p.peek())()
	left := p.labelCondition()
	for p.err == nil {
		t := p.peek()
		switch {
		case floor < orBinds && p.acceptWord("or"):
			left = &OrFilter{Left: left, Right: p.labelConditions(orBinds)}
		case floor < andBinds && p.acceptWord("and"):
			left = &AndFilter{Left: left, Right: p.labelConditions(andBinds)}
		case p.accept(","), t.is("("), t.kind == word && p.second().kind == mark && isCompare(p.second().value):
			left = &AndFilter{Left: left, Right: p.labelConditions(0)}
		default:
			return left
		}
		p.countOperator(t)
	}
	return left
}

// How strongly operators of label filters bind.
const (
	orBinds  = 1
	andBinds = 2
)

func isCompare(m string) bool {
	_, match := matchTypes[m]
	_, compare := compareOps[m]
	return match || compare
}

var compareOps = map[string]CompareOp{"=": "==", "==": "==", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}

func (p *parser) labelCondition() LabelFilter {
	if p.accept("(") {
		f := p.labelFilter()
		p.expect(")", "to close the parenthesis")
		return f
	}
	name := p.label("a stage or a parenthesis")
	op := p.next()
	if op.kind != mark || !isCompare(op.value) {
		p.fail(op, "expected a comparison of %s, not %s", name, op)
	}
	value := p.peek()
	if value.isWord("ip") {
		p.next()
		f := &IPFilter{Name: name, Not: op.value == "!=", Pattern: p.address()}
		if !op.is("=") && !op.is("!=") {
			p.fail(op, "ip() can follow = and != only, not %s", op)
		}
		return f
	}
	if value.kind == text {
		typ, ok := matchTypes[op.value]
		if !ok {
			p.fail(op, "%s can't compare with a string; =, !=, =~ and !~ can", op)
		}
		return &StringFilter{Matcher: p.newMatcher(typ, name, p.next().value, value)}
	}
	compare, ok := compareOps[op.value]
	if !ok {
		p.fail(op, "%s can compare with a string only", op)
	}
	return p.numericCondition(name, compare)
}

func (p *parser) numericCondition(name string, op CompareOp) LabelFilter {
	negative := p.accept("-")
	if !negative {
		p.accept("+")
	}
	switch t := p.next(); t.kind {
	case number:
		f := &NumberFilter{Name: name, Op: op, Value: t.number}
		if negative {
			f.Value = -f.Value
		}
		return f
	case duration:
		d := t.duration
		if negative {
			d = -d
		}
		return &DurationFilter{Name: name, Op: op, Value: d}
	case size:
		if negative {
			p.fail(t, "a size can't be negative")
		}
		return &BytesFilter{Name: name, Op: op, Value: t.size}
	default:
		p.fail(t, "expected a string, a number, a duration, a size or ip(), not %s", t)
		return &StringFilter{Matcher: &labels.Matcher{}}
	}
}
