package logql

import "github.com/buger/jsonparser"

// JSONPaths is where the json stage finds each of its labels in a line, by the
// name that the label has if no other has it. Of a line that isn't JSON it is
// where it finds what it finds before it notices.
func JSONPaths(line string) map[string][]string {
	p := jsonPaths{found: map[string][]string{}}
	_ = p.object("", nil, []byte(line)) // what is found until then is found
	return p.found
}

type jsonPaths struct {
	names labelNames
	found map[string][]string
}

// object reads one, whose own label is outer and whose path is above.
func (p *jsonPaths) object(outer string, above []string, data []byte) error {
	return jsonparser.ObjectEach(data, func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		name := p.names.name(outer, key)
		path := append(above[:len(above):len(above)], string(key))
		switch typ {
		case jsonparser.Object:
			return p.object(name, path, value)
		case jsonparser.String, jsonparser.Number, jsonparser.Boolean:
			if _, there := p.found[name]; !there && name != "" {
				p.found[name] = path
			}
		}
		return nil
	})
}
