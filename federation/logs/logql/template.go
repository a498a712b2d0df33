package logql

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"text/template/parse"
)

// The bounds of what a template may do with one entry: templates are written
// by whoever asks, and run where the lines are.
const (
	maxTemplateText  = 1 << 20 // bytes of a text that it makes
	maxTemplateSteps = 100_000 // of its loops, together
)

var (
	errTemplateText  = fmt.Errorf("the template makes more than %d bytes", maxTemplateText)
	errTemplateSteps = fmt.Errorf("the loops of the template have more than %d steps", maxTemplateSteps)
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
		n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{bound}})
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
	t.text.Reset()
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
		return t.text.String(), nil
	}
	e.copyTo(t.labels)
	return t.executeOn(e, t.labels)
}

// executeOn makes the text for an entry, of the labels as they were copied.
func (t *lineTemplate) executeOn(e *entry, labels map[string]string) (string, error) {
	t.text.Reset()
	t.line, t.at, t.steps = e.line, e.at, 0
	if err := t.template.Execute(&t.text, labels); err != nil {
		return "", err
	}
	return t.text.String(), nil
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

// limitedText is text of at most maxTemplateText bytes.
type limitedText struct{ strings.Builder }

func (t *limitedText) Write(b []byte) (int, error) {
	if t.Len()+len(b) > maxTemplateText {
		return 0, errTemplateText
	}
	return t.Builder.Write(b)
}

// bounded counts the steps of a loop over v.
func (f *functions) bounded(v any) (any, error) {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Array, reflect.Slice, reflect.Map, reflect.String:
		f.steps += r.Len()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.steps += int(min(max(r.Int(), 0), maxTemplateSteps+1))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		f.steps += int(min(r.Uint(), maxTemplateSteps+1))
	}
	if f.steps > maxTemplateSteps {
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
	branch := func(b *parse.BranchNode) {
		all = append(all, fieldNodes(b.Pipe)...)
		all = append(all, fieldNodes(b.List)...)
		if b.ElseList != nil {
			all = append(all, fieldNodes(b.ElseList)...)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, inner := range n.Nodes {
			all = append(all, fieldNodes(inner)...)
		}
	case *parse.ActionNode:
		return fieldNodes(n.Pipe)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, a := range c.Args {
				all = append(all, fieldNodes(a)...)
			}
		}
	case *parse.ChainNode:
		return fieldNodes(n.Node)
	case *parse.FieldNode:
		return []*parse.FieldNode{n}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	}
	return all
}
