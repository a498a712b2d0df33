package logql

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// The bounds of what a template may do with one entry: templates are written
// by whoever asks, and run where the lines are.
const (
	// maxTemplateText is how many bytes of text all templates of a pipeline may make
	// of one entry, together: each label is kept.
	maxTemplateText  = 1 << 20
	maxTemplateSteps = 100_000 // of its loops, together: nodes of what they do each time
	// maxTemplateWork is how many bytes of text its functions may read and make,
	// together: each may be short, and a loop calls it again and again.
	maxTemplateWork = 16 << 20
)

var (
	errTemplateText  = fmt.Errorf("templates make more than %d bytes of the entry", maxTemplateText)
	errTemplateSteps = fmt.Errorf("the loops of the template have more than %d steps", maxTemplateSteps)
	errTemplateWork  = fmt.Errorf("the functions of the template read and make more than %d bytes", maxTemplateWork)
)

// checkTemplate refuses what isn't a template that we accept.
func checkTemplate(source string) error {
	_, err := newTemplate(source)
	return err
}

// lineTemplate makes a text of an entry's labels. Templates of labels and
// text only, as most are, are run without text/template.
type lineTemplate struct {
	simple []templatePart

	template *template.Template
	functions
	labels map[string]string
	text   limitedText
}

// templatePart is text or a label.
type templatePart struct {
	text  string
	label bool
}

// boundedLoop is put after what a template loops over.
const boundedLoop = "parley_bounded"

func newTemplate(source string) (*lineTemplate, error) {
	t := &lineTemplate{labels: map[string]string{}}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(t.funcs()).Parse(source)
	if err != nil {
		return nil, errors.New("the template can't be read: " + strings.TrimPrefix(err.Error(), "template: :"))
	}
	if defined := parsed.Templates(); len(defined) > 1 {
		return nil, errors.New("a template can't define others")
	}
	t.template = parsed
	if parsed.Tree == nil || parsed.Root == nil {
		return t, nil
	}
	if err := boundLoops(parsed.Root); err != nil {
		return nil, err
	}
	t.simple = simpleParts(parsed.Root)
	return t, nil
}

// simpleParts are those of a template of text and labels only; nil: it is not.
func simpleParts(root *parse.ListNode) []templatePart {
	parts := []templatePart{}
	for _, n := range root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			parts = append(parts, templatePart{text: string(n.Text)})
		case *parse.ActionNode:
			if len(n.Pipe.Decl) > 0 || len(n.Pipe.Cmds) != 1 || len(n.Pipe.Cmds[0].Args) != 1 {
				return nil
			}
			f, ok := n.Pipe.Cmds[0].Args[0].(*parse.FieldNode)
			if !ok || len(f.Ident) != 1 {
				return nil
			}
			parts = append(parts, templatePart{text: f.Ident[0], label: true})
		default:
			return nil
		}
	}
	return parts
}

// boundLoops has every loop counted, and refuses to run templates by name: they
// may multiply.
func boundLoops(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, inner := range n.Nodes {
			if err := boundLoops(inner); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return errors.New("a template can't run others")
	case *parse.IfNode:
		return boundBranches(&n.BranchNode)
	case *parse.WithNode:
		return boundBranches(&n.BranchNode)
	case *parse.RangeNode:
		bound := parse.NewIdentifier(boundedLoop).SetPos(n.Pos)
		size := countNodes(n.List)
		each := &parse.NumberNode{NodeType: parse.NodeNumber, Pos: n.Pos, IsInt: true, Int64: int64(size), Text: strconv.Itoa(size)}
		n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{bound, each}})
		return boundBranches(&n.BranchNode)
	}
	return nil
}

func boundBranches(n *parse.BranchNode) error {
	if err := boundLoops(n.List); err != nil {
		return err
	}
	return boundLoops(n.ElseList)
}

// execute makes the text for an entry, of the labels as they are.
func (t *lineTemplate) execute(e *entry) (string, error) {
	t.text.reset(e)
	if t.simple != nil {
		for _, p := range t.simple {
			text := p.text
			if p.label {
				text, _ = e.get(p.text)
			}
			if _, err := t.text.Write(viewed(text)); err != nil {
				return "", err
			}
		}
		return t.text.made(e), nil
	}
	e.copyTo(t.labels)
	return t.executeOn(e, t.labels)
}

// executeOn makes the text for an entry, of the labels as they were copied.
func (t *lineTemplate) executeOn(e *entry, labels map[string]string) (string, error) {
	t.text.reset(e)
	t.line, t.at, t.steps, t.work = e.line, e.at, 0, 0
	if err := t.template.Execute(&t.text, labels); err != nil {
		return "", err
	}
	return t.text.made(e), nil
}

// copyTo makes the map the labels as they are.
func (f *fields) copyTo(labels map[string]string) {
	clear(labels)
	for i := range f.all {
		labels[f.all[i].name] = f.all[i].value
	}
	if f.problem != "" {
		labels[ErrorLabel] = f.problem
	}
	if f.details != "" {
		labels[ErrorDetailsLabel] = f.details
	}
}

// limitedText is text of at most as many bytes as templates may still make of an
// entry.
type limitedText struct {
	strings.Builder
	most int
}

func (t *limitedText) reset(e *entry) {
	t.Reset()
	t.most = maxTemplateText - e.made
}

func (t *limitedText) Write(b []byte) (int, error) {
	if t.Len()+len(b) > t.most {
		return 0, errTemplateText
	}
	return t.Builder.Write(b)
}

// made is the text, which counts for the entry from now on.
func (t *limitedText) made(e *entry) string {
	e.made += t.Len()
	return t.String()
}

// bounded counts the steps of a loop over v, which has so many for each of it.
func (f *functions) bounded(each int, v any) (any, error) {
	times := 0
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Array, reflect.Slice, reflect.Map, reflect.String:
		times = r.Len()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		times = int(min(max(r.Int(), 0), maxTemplateSteps+1))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		times = int(min(r.Uint(), maxTemplateSteps+1))
	}
	if f.steps += times * each; f.steps > maxTemplateSteps {
		return nil, errTemplateSteps
	}
	return v, nil
}

// templateLabels are the labels that a template names.
func templateLabels(source string) []string {
	t, err := newTemplate(source)
	if err != nil || t.template.Tree == nil {
		return nil
	}
	var names []string
	for _, n := range fieldNodes(t.template.Root) {
		names = append(names, n.Ident[0])
	}
	return names
}

// fieldNodes are those below a node.
func fieldNodes(n parse.Node) []*parse.FieldNode {
	var all []*parse.FieldNode
	inspectNodes(n, func(n parse.Node) {
		if f, ok := n.(*parse.FieldNode); ok {
			all = append(all, f)
		}
	})
	return all
}

// countNodes is how many nodes there are from a node on.
func countNodes(n parse.Node) (count int) {
	inspectNodes(n, func(parse.Node) { count++ })
	return count
}

// inspectNodes visits a node and those below it.
func inspectNodes(n parse.Node, visit func(parse.Node)) {
	visit(n)
	branch := func(b *parse.BranchNode) {
		inspectNodes(b.Pipe, visit)
		inspectNodes(b.List, visit)
		if b.ElseList != nil {
			inspectNodes(b.ElseList, visit)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, inner := range n.Nodes {
			inspectNodes(inner, visit)
		}
	case *parse.ActionNode:
		inspectNodes(n.Pipe, visit)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				inspectNodes(a, visit)
			}
		}
	case *parse.ChainNode:
		inspectNodes(n.Node, visit)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	}
}
