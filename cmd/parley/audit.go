package main

import (
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/config"
)

type auditCommand struct {
	BreakGlass auditBreakGlassCommand `cmd:"" name:"break-glass" help:"Say who asked in emergencies, for what reason, and what they were shown."`
}

// auditSource is which part of which log a command is about.
type auditSource struct {
	Config string         `required:"" placeholder:"FILE" type:"path" help:"The gateway's config, which names its audit log."`
	Since  model.Duration `default:"30d" placeholder:"30d" help:"How far back the log is read (${default})."`
}

// open returns the log, which may be in use, and since when it is to be read.
func (s auditSource) open() (log fs.FS, since time.Time, err error) {
	settings, err := config.Load(s.Config)
	if err != nil {
		return nil, since, err
	}
	if _, err := os.Stat(settings.Audit.Dir); err != nil {
		return nil, since, fmt.Errorf("the audit log: %w", err)
	}
	since = time.Now().Add(-time.Duration(s.Since))
	return audit.Since(os.DirFS(settings.Audit.Dir), since), since, nil
}
