package demo

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/parley-gateway/parley/tenants"
)

//go:embed policies
var policies embed.FS

// Policies is the policy folder of one of the companies; os.CopyFS writes it
// to where a gateway reads it.
func Policies(org tenants.OrgID) (fs.FS, error) {
	dir, err := fs.Sub(policies, "policies/"+string(org))
	if err == nil {
		_, err = fs.Stat(dir, ".")
	}
	if err != nil {
		return nil, fmt.Errorf("%s has no policies in the demo: %w", org, err)
	}
	return dir, nil
}
