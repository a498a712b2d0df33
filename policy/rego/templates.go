package rego

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/parley-gateway/parley/tenants"
)

//go:embed templates
var templates embed.FS

// Template is a policy to start from: what one partner is answered, with tests.
type Template struct {
	Name string
	// About is what it says of itself, without line breaks.
	About string
}

// templatePartner is the partner that templates are written for.
const templatePartner = "example"

// Templates are those there are, sorted by name.
func Templates() ([]Template, error) {
	entries, err := fs.ReadDir(templates, "templates")
	if err != nil {
		return nil, fmt.Errorf("embedded templates of policies: %w", err)
	}
	var out []Template
	for _, e := range entries {
		text, err := fs.ReadFile(templates, path.Join("templates", e.Name(), templatePartner+".rego"))
		if err != nil {
			return nil, fmt.Errorf("embedded templates of policies: %w", err)
		}
		out = append(out, Template{Name: e.Name(), About: about(string(text))})
	}
	return out, nil
}

// about is the comment that a policy begins with.
func about(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.TrimSpace(comment))
	}
	return strings.ReplaceAll(strings.Join(words, " "), ", for "+templatePartner, "")
}

// For returns the template's files for a partner by their names, and the package
// that the agreement with it has to name.
func (t Template) For(partner tenants.OrgID) (files map[string]string, pkg string, err error) {
	dir := path.Join("templates", t.Name)
	entries, err := fs.ReadDir(templates, dir)
	if err != nil {
		return nil, "", fmt.Errorf("there is no template %s", t.Name)
	}
	// In Rego a name has no hyphens.
	name := strings.ReplaceAll(string(partner), "-", "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	files = map[string]string{}
	for _, e := range entries {
		text, err := fs.ReadFile(templates, path.Join(dir, e.Name()))
		if err != nil {
			return nil, "", fmt.Errorf("embedded templates of policies: %w", err)
		}
		files[strings.Replace(e.Name(), templatePartner, string(partner), 1)] = addressed(string(text), name, string(partner))
	}
	return files, "parley.partners." + name, nil
}

// addressed is Rego with a partner's name in it: in comments and strings as its
// organization is called.
func addressed(text, name, partner string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			line = strings.ReplaceAll(line, templatePartner, partner)
		}
		line = strings.ReplaceAll(line, `"`+templatePartner, `"`+partner)
		out.WriteString(strings.ReplaceAll(line, templatePartner, name))
	}
	return out.String()
}
