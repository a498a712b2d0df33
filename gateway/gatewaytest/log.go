package gatewaytest

import (
	"bytes"
	"strings"
	"sync"
)

// Log keeps what a gateway logs.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write adds to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all that was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Events is what was logged so far but for the line of each HTTP request.
func (l *Log) Events() string {
	var out strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, `"msg":"request"`) {
			out.WriteString(line)
		}
	}
	return out.String()
}
