package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

type configCommand struct {
	Check  configCheckCommand  `cmd:"" help:"Say everything that is wrong with a config, its agreements and its policies, by file and line."`
	Manual configManualCommand `cmd:"" help:"Print every key with what it means."`
}

type configCheckCommand struct {
	File string `arg:"" type:"path" help:"The gateway's config."`
}

// Help is shown by parley config check --help.
func (*configCheckCommand) Help() string {
	return "Example:\n\n  parley config check /etc/parley/gateway.yml"
}

// Run loads the config, the agreements and the policies as serve would.
func (c *configCheckCommand) Run(k *kong.Kong) error {
	settings, err := config.Load(c.File)
	if err != nil {
		return err
	}
	agreements, err := tenants.ReadAgreements(settings.Agreements.Dir, tenants.Self{Org: settings.Org, TrustDomain: settings.TrustDomain})
	if err != nil {
		return err
	}
	if _, err := rego.New(context.Background(), rego.Config{
		Org: settings.Org, Dir: settings.Policy.Dir, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Agreements: func() []tenants.Agreement { return agreements },
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "%s is good\n", c.File)
	return err
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
