package demo

import (
	_ "embed"
	"fmt"
	"io"
	"text/template"

	"github.com/parley-gateway/parley/tenants"
)

//go:embed guide.txt.tmpl
var guideText string

// defaultGateway is the gateway that `parley query` asks when none is named.
const defaultGateway = "http://127.0.0.1:9480"

// Guide writes what there is to try, in less than a screen. parley is how the
// reader calls the program, such as bin/parley; urls are the companies' front
// doors, without a slash at the end.
func Guide(w io.Writer, parley string, urls map[tenants.OrgID]string) error {
	type company struct {
		Company
		URL string
	}
	data := struct {
		Companies    []company
		Parley, Acme string
		// Export says that our gateway isn't the one asked when none is named.
		Export bool
	}{Parley: parley, Acme: urls["acme"], Export: urls["acme"] != defaultGateway}
	for _, c := range Companies() {
		data.Companies = append(data.Companies, company{c, urls[c.Org]})
	}
	t, err := template.New("guide").Parse(guideText)
	if err != nil {
		return fmt.Errorf("read the template of the guide: %w", err)
	}
	if err := t.Execute(w, data); err != nil {
		return fmt.Errorf("write the guide: %w", err)
	}
	return nil
}
