package inspect

import (
	"cmp"
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode"

	"github.com/prometheus/prometheus/model/labels"
)

// maxTransitions bounds the search for a value: some pairs of expressions take
// more than there is time for.
const maxTransitions = 200_000

// valueOf finds a value that matches all matchers, which are of one label; the
// empty one is a label that isn't there. It is the shortest there is. known is
// false when it would take too long to tell.
//
// Expressions are run side by side as automata, one rune of each class that
// they tell apart at a time, until a state is found in which all of them agree.
func valueOf(matchers []*labels.Matcher) (value string, found, known bool) {
	for _, m := range matchers {
		if m.Type == labels.MatchEqual {
			agree := !slices.ContainsFunc(matchers, func(o *labels.Matcher) bool { return !o.Matches(m.Value) })
			return m.Value, agree, true
		}
	}
	s := search{seen: map[string]bool{}}
	for _, m := range matchers {
		expression := m.Value
		if m.Type == labels.MatchNotEqual {
			expression = regexp.QuoteMeta(expression)
		}
		// As Prometheus anchors them.
		parsed, err := syntax.Parse("^(?s:"+expression+")$", syntax.Perl)
		if err != nil {
			return "", false, false
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			return "", false, false
		}
		s.automata = append(s.automata, automaton{program: program, negated: m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp})
	}
	return s.run()
}

// automaton is an expression, or everything it doesn't match.
type automaton struct {
	program *syntax.Prog
	negated bool
}

// threads are the instructions an automaton may be at, sorted, before what
// stands between two runes is looked at.
type threads []uint32

// follow returns the instructions that read a rune, or end, when one stands
// between the runes before and after, either of which may be none (-1).
func (a automaton) follow(from threads, before, after rune) threads {
	here := syntax.EmptyOpContext(before, after)
	var out threads
	seen := map[uint32]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &a.program.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^here == 0 {
				todo = append(todo, inst.Out)
			}
		case syntax.InstFail:
		default:
			out = append(out, pc)
		}
	}
	return out
}

func (a automaton) step(from threads, before, read rune) threads {
	var out threads
	for _, pc := range a.follow(from, before, read) {
		if inst := &a.program.Inst[pc]; inst.Op != syntax.InstMatch && inst.MatchRune(read) {
			out = append(out, inst.Out)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a automaton) accepts(at threads, before rune) bool {
	matched := slices.ContainsFunc(a.follow(at, before, -1), func(pc uint32) bool { return a.program.Inst[pc].Op == syntax.InstMatch })
	return matched != a.negated
}

// search goes through the states of all automata together, breadth first.
type search struct {
	automata []automaton
	seen     map[string]bool
}

type node struct {
	at     []threads
	before rune // the class of the rune read last; -1 is none
	text   string
}

func (s *search) run() (value string, found, known bool) {
	start := node{before: -1}
	for _, a := range s.automata {
		start.at = append(start.at, threads{uint32(a.program.Start)})
	}
	alphabet := s.alphabet()
	left := maxTransitions
	for level := []node{start}; len(level) > 0; {
		var next []node
		for _, n := range level {
			if s.accepts(n) {
				return n.text, true, true
			}
			for _, r := range alphabet {
				if left--; left < 0 {
					return "", false, false
				}
				if to := s.step(n, r); !s.dead(to) && s.isNew(to) {
					next = append(next, to)
				}
			}
		}
		level = next
	}
	return "", false, true
}

func (s *search) accepts(n node) bool {
	for i, a := range s.automata {
		if !a.accepts(n.at[i], n.before) {
			return false
		}
	}
	return true
}

func (s *search) step(n node, r rune) node {
	to := node{before: class(r), text: n.text + string(r)}
	for i, a := range s.automata {
		to.at = append(to.at, a.step(n.at[i], n.before, r))
	}
	return to
}

// dead says that an expression which has to match never will.
func (s *search) dead(n node) bool {
	for i, a := range s.automata {
		if !a.negated && len(n.at[i]) == 0 {
			return true
		}
	}
	return false
}

func (s *search) isNew(n node) bool {
	key := binary.AppendVarint(nil, int64(n.before))
	for _, at := range n.at {
		key = binary.AppendUvarint(key, uint64(len(at)))
		for _, pc := range at {
			key = binary.AppendUvarint(key, uint64(pc))
		}
	}
	if s.seen[string(key)] {
		return false
	}
	s.seen[string(key)] = true
	return true
}

// class is a rune that stands before the next one as r does.
func class(r rune) rune {
	switch {
	case r == '\n':
		return '\n'
	case syntax.IsWordChar(r):
		return 'a'
	}
	return ' '
}

// alphabet has one rune of each class that the expressions tell apart: letters
// first, so that what is found can be read.
func (s *search) alphabet() []rune {
	// The first runes of classes: what \b and ^ look at, and what expressions do.
	begins := []rune{0, '\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1, 0xD800, 0xE000}
	for _, a := range s.automata {
		for _, inst := range a.program.Inst {
			for i := 0; i < len(inst.Rune); i += 2 {
				last := inst.Rune[min(i+1, len(inst.Rune)-1)]
				begins = append(begins, inst.Rune[i], last+1)
			}
			if len(inst.Rune) == 1 && syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
				for r := unicode.SimpleFold(inst.Rune[0]); r != inst.Rune[0]; r = unicode.SimpleFold(r) {
					begins = append(begins, r, r+1)
				}
			}
		}
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)
	begins = slices.DeleteFunc(begins, func(r rune) bool {
		return r < 0 || r > unicode.MaxRune || r >= 0xD800 && r < 0xE000 // not in UTF-8
	})
	slices.SortStableFunc(begins, func(a, b rune) int { return cmp.Compare(rank(a), rank(b)) })
	return begins
}

func rank(r rune) int {
	switch {
	case r >= 'a' && r <= 'z':
		return 0
	case r == '_':
		return 1
	case syntax.IsWordChar(r):
		return 2
	case r > ' ' && r <= '~':
		return 3
	}
	return 4
}
