package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

type configCommand struct {
	Check  configCheckCommand  `cmd:"" help:"Say everything that is wrong with a config, its agreements and its policies, by file and line."`
	Manual configManualCommand `cmd:"" help:"Print every key with what it means."`
}

type configCheckCommand struct {
	File string `arg:"" type:"path" help:"The gateway's config."`
	output
}

// Help is shown by parley config check --help.
func (*configCheckCommand) Help() string {
	return "Examples:\n\n  parley config check /etc/parley/gateway.yml\n  parley config check gateway.yml -o json"
}

// Run loads the config, the agreements and the policies as serve would.
func (c *configCheckCommand) Run(k *kong.Kong) error {
	server, err := c.check(context.Background())
	switch {
	case err != nil:
		return c.failed(k.Stdout, err)
	case c.Output == "json":
		return printJSON(k.Stdout, problemReport{[]problem{}})
	}
	good := c.File + " is good"
	if server != nil {
		good += "; its policies come from " + server.String() + ", which was not asked: they were not looked at"
	}
	_, err = fmt.Fprintln(k.Stdout, good)
	return err
}

// check returns the server whose policies are not looked at, nil if there is none.
// The error is of all that is wrong.
func (c *configCheckCommand) check(ctx context.Context) (bundle.Server, error) {
	settings, err := config.Load(c.File)
	if err != nil {
		return nil, err
	}
	agreements, err := tenants.ReadAgreements(settings.Agreements.Dir, tenants.Self{Org: settings.Org, TrustDomain: settings.TrustDomain})
	if err == nil {
		err = checkBundles(agreements)
	}
	wrong := []error{err}
	ofPolicies := rego.Config{
		Org: settings.Org, Now: time.Now, Log: slog.New(slog.DiscardHandler), Agreements: func() []tenants.Agreement { return agreements },
	}
	load := func(dir string, b *rego.BundleConfig) {
		ofPolicies.Dir, ofPolicies.Bundle = dir, b
		_, err := rego.New(ctx, ofPolicies)
		wrong = append(wrong, err)
	}
	policies, stop, err := newPolicyBundle(settings)
	if err != nil {
		wrong = append(wrong, err)
	} else {
		defer stop()
		load(settings.Policy.Dir, policies)
	}
	if settings.Policy.Shadow != "" {
		load(settings.Policy.Shadow, nil)
	}
	var server bundle.Server
	if policies != nil {
		server = policies.Server
	}
	return server, errors.Join(wrong...)
}

// checkBundles reads the bundles that agreements have in files. A gateway starts
// without them, but can't talk to the partner.
func checkBundles(agreements []tenants.Agreement) error {
	var problems yamlstrict.Problems
	for _, a := range agreements {
		if a.Bundle.File == "" {
			continue
		}
		text, err := os.ReadFile(a.Bundle.File)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s isn't there; %s has to hand over its trust bundle", a.Bundle.File, a.Partner)
		}
		if err == nil {
			_, err = identity.ParseBundle(a.TrustDomain, text)
		}
		if err != nil {
			problems = append(problems, yamlstrict.Problem{File: a.File, Text: "bundle.file: " + err.Error()})
		}
	}
	return problems.Err()
}

type configManualCommand struct{}

// Help is shown by parley config manual --help.
func (configManualCommand) Help() string {
	return "Example:\n\n  parley config manual | less"
}

// Run prints the manual.
func (configManualCommand) Run(k *kong.Kong) error {
	manual, err := config.Manual()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(k.Stdout, manual)
	return err
}
