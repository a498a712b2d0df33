package logql

// lineFormatStep replaces the line.
type lineFormatStep struct{ template *lineTemplate }

func (s *lineFormatStep) process(e *entry) bool {
	text, err := s.template.execute(e)
	if err != nil {
		e.fail(templateProblem, err.Error())
		return true
	}
	e.line = text
	return true
}

// labelFormatStep sets labels.
type labelFormatStep struct {
	formats   []Format
	templates []*lineTemplate // by format; nil: it renames
}

func newLabelFormatStep(s *LabelFormat) (step, error) {
	l := &labelFormatStep{formats: s.Formats, templates: make([]*lineTemplate, len(s.Formats))}
	for i, f := range s.Formats {
		if f.Rename {
			continue
		}
		t, err := newTemplate(f.Source)
		if err != nil {
			return nil, err
		}
		l.templates[i] = t
	}
	return l, nil
}

func (s *labelFormatStep) process(e *entry) bool {
	for i, f := range s.formats {
		if f.Rename {
			if value, ok := e.get(f.Source); ok {
				e.set(f.Label, value)
				e.delete(f.Source)
			}
			continue
		}
		text, err := s.templates[i].execute(e)
		if err != nil {
			e.fail(templateProblem, err.Error())
			continue
		}
		e.set(f.Label, text)
	}
	return true
}
