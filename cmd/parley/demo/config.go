package demo

import (
	_ "embed"
	"fmt"
	"io"
	"text/template"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// The names of a company's files, in its folder.
const (
	ConfigFile = "gateway.yml"
	KeyFile    = "pseudonyms.key"
)

//go:embed gateway.yml.tmpl
var configText string

// WriteConfig writes the config of a company's gateway, whose front door is at
// an address.
func WriteConfig(w io.Writer, org tenants.OrgID, front string) error {
	t, err := template.New("config").Parse(configText)
	if err != nil {
		return fmt.Errorf("read the template of configs: %w", err)
	}
	err = t.Execute(w, struct {
		Org            tenants.OrgID
		TrustDomain    spiffeid.TrustDomain
		Front, KeyFile string
	}{org, TrustDomain(org), front, KeyFile})
	if err != nil {
		return fmt.Errorf("write the config of %s: %w", org, err)
	}
	return nil
}
