package demo

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/parley-gateway/parley/tenants"
)

//go:embed guide.txt.tmpl
var guideText string

// defaultGateway is the gateway that `parley query` asks when none is named.
const defaultGateway = "http://127.0.0.1:9480"

// Guide writes what there is to try, in less than a screen. parley is how the
// reader calls the program, such as bin/parley; urls are the companies' front
// doors, without a slash at the end; data is the folder that is kept, or empty.
func Guide(w io.Writer, parley string, urls map[tenants.OrgID]string, data string) error {
	type company struct {
		Company
		URL string
	}
	guide := struct {
		Companies    []company
		Parley, Data string
		// Acme is the URL of our own gateway, Address its host and port.
		Acme, Address string
		// Export says that our gateway isn't the one asked when none is named.
		Export bool
	}{Parley: parley, Data: data, Acme: urls["acme"], Address: strings.TrimPrefix(urls["acme"], "http://"), Export: urls["acme"] != defaultGateway}
	for _, c := range Companies() {
		guide.Companies = append(guide.Companies, company{c, urls[c.Org]})
	}
	t, err := template.New("guide").Parse(guideText)
	if err != nil {
		return fmt.Errorf("read the template of the guide: %w", err)
	}
	if err := t.Execute(w, guide); err != nil {
		return fmt.Errorf("write the guide: %w", err)
	}
	return nil
}
