package gatewaytest

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy is a stretch of network in front of an address: it passes bytes on
// until the story says otherwise.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with the test
	running  sync.WaitGroup

	mu       sync.Mutex
	open     chan struct{}     // closed while bytes pass; guarded by mu
	conns    map[net.Conn]bool // guarded by mu
	accepted int               // guarded by mu
	refusing bool              // guarded by mu
}

// NewProxy returns a proxy that runs until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{target: target, listener: listen(t), ctx: ctx, open: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.open)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		cancel()
		_ = p.listener.Close() // ends accept
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted is how many connections were made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Stall keeps all bytes from now on, of old and new connections; nobody is
// told.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// Resume passes on what Stall has kept and all that follows.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.open)
}

// Cut ends all connections and every later one.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	for c := range p.conns {
		_ = c.Close() // whoever uses it notices
	}
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.target)
		if err != nil || !p.keep(in, out) {
			_ = in.Close() // as unreachable as the target
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		p.running.Go(func() { p.pass(in, out) })
		p.running.Go(func() { p.pass(out, in) })
	}
}

func (p *Proxy) keep(in, out net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return false
	}
	p.accepted++
	p.conns[in], p.conns[out] = true, true
	return true
}

// pass copies until one side ends, and then ends both.
func (p *Proxy) pass(from, to net.Conn) {
	defer p.drop(from, to)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
		case <-p.ctx.Done():
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		_ = c.Close() // the other direction may have closed it
	}
}
