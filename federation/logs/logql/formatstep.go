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

// labelFormatStep sets labels. All its templates see them as they are when the
// first one is run; as in Loki, the first of which there are any.
type labelFormatStep struct {
	formats   []Format
	templates []*lineTemplate // by format; nil: it renames
	seen      map[string]string
}

func newLabelFormatStep(s *LabelFormat) (step, error) {
	l := &labelFormatStep{formats: s.Formats, templates: make([]*lineTemplate, len(s.Formats)), seen: map[string]string{}}
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
	clear(s.seen)
	for i, f := range s.formats {
		if f.Rename {
			if value, ok := e.get(f.Source); ok {
				e.set(f.Label, value)
				e.delete(f.Source)
			}
			continue
		}
		if len(s.seen) == 0 {
			e.copyTo(s.seen)
		}
		text, err := s.templates[i].executeOn(e, s.seen)
		if err != nil {
			e.fail(templateProblem, err.Error())
			continue
		}
		e.set(f.Label, text)
	}
	return true
}
