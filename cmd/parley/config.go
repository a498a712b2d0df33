package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/gateway/config"
)

type configCommand struct {
	Check  configCheckCommand  `cmd:"" help:"Say everything that is wrong with a config, by file and line."`
	Manual configManualCommand `cmd:"" help:"Print every key with what it means."`
}

type configCheckCommand struct {
	File string `arg:"" type:"path" help:"The gateway's config."`
}

// Help is shown by parley config check --help.
func (*configCheckCommand) Help() string {
	return "Example:\n\n  parley config check /etc/parley/gateway.yml"
}

// Run loads the config as serve would.
func (c *configCheckCommand) Run(k *kong.Kong) error {
	if _, err := config.Load(c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(k.Stdout, "%s is good\n", c.File)
	return err
}

type configManualCommand struct{}

// Help is shown by parley config manual --help.
func (configManualCommand) Help() string {
	return "Example:\n\n  parley config manual > gateway.yml"
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
