package assembly

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// How long the end of a gateway may take. Together they are less than the half
// minute that Kubernetes gives a pod before it is killed.
const (
	// shutdownTimeout is for the questions under way.
	shutdownTimeout = 10 * time.Second
	// closeTimeout is for each part, and for a door after its questions were cut
	// off.
	closeTimeout = 2 * time.Second
	// auditTimeout is for the audit log, which has to reach the disk.
	auditTimeout = 5 * time.Second
)

// ending is how something that runs is ended. What takes longer than it may is
// left behind, so that the rest can be ended too.
type ending struct {
	what string
	most time.Duration
	end  func() error
}

func (e ending) run() error {
	ended := make(chan error, 1)
	go func() { ended <- e.end() }()
	timer := time.NewTimer(e.most)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("%s did not end within %s and was left behind", e.what, e.most)
	}
}

// together ends all at the same time.
func together(all []ending) error {
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, e := range all {
		running.Go(func() { errs[i] = e.run() })
	}
	running.Wait()
	return errors.Join(errs...)
}

// backwards ends one after the other, the last one first.
func backwards(all []ending) error {
	var errs []error
	for _, e := range slices.Backward(all) {
		errs = append(errs, e.run())
	}
	return errors.Join(errs...)
}

// shutdown waits for the requests under way; when ctx ends they are cut off.
func shutdown(ctx context.Context, s *http.Server) error {
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return s.Close()
}
