package identity

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// DevSourceConfig is an SVID that a development CA keeps fresh.
type DevSourceConfig struct {
	ID spiffeid.ID
	// TTL is the lifetime of each SVID, at least a second. Zero: one hour.
	TTL time.Duration
	// Every is how often a new one is issued, less than TTL. Zero: TTL/2.
	Every time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// DevSource is a Source fed by a development CA in the same process.
type DevSource struct {
	current
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Source issues an SVID and keeps issuing.
func (ca *DevCA) Source(config DevSourceConfig) (*DevSource, error) {
	config.TTL = durationOr(config.TTL, time.Hour)
	config.Every = durationOr(config.Every, config.TTL/2)
	config.Logger = loggerOr(config.Logger)
	if config.TTL < time.Second {
		return nil, fmt.Errorf("the SVID %s can't live for %s: X.509 counts in seconds", config.ID, config.TTL)
	}
	if config.Every >= config.TTL {
		return nil, fmt.Errorf("the SVID %s lives for %s and can't be issued every %s only", config.ID, config.TTL, config.Every)
	}
	svid, err := ca.Issue(config.ID, config.TTL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &DevSource{current: current{trustDomain: ca.trustDomain, clock: ca.clock}, cancel: cancel}
	s.set(svid, ca.Bundle())
	s.done.Go(func() { s.reissue(ctx, ca, config) })
	return s, nil
}

// Close stops issuing.
func (s *DevSource) Close() error {
	s.cancel()
	s.done.Wait()
	return nil
}

func (s *DevSource) reissue(ctx context.Context, ca *DevCA, config DevSourceConfig) {
	ticker := time.NewTicker(config.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		svid, err := ca.Issue(config.ID, config.TTL)
		if err != nil {
			s.fail(err)
			config.Logger.Error("our SVID could not be issued anew; the last one is kept", "error", err)
			continue
		}
		s.set(svid, ca.Bundle())
	}
}
