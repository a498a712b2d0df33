package wire

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"

	"github.com/parley-gateway/parley/tenants"
)

// Flow is which way bytes went, seen from the gateway that counts them.
type Flow string

// The two ways, as metrics spell them.
const (
	Sent     Flow = "sent"
	Received Flow = "received"
)

// Traffic counts the bytes that calls put on the wire: headers, trailers and
// messages as compressed, without HTTP/2's frames and TLS's records. It is a
// gRPC stats handler for either end; Count is called at the end of each call
// that moved any.
type Traffic struct {
	Count func(partner tenants.OrgID, flow Flow, n int)
	// Partner is the other end, where it is known beforehand. At the server it
	// is told call by call with SetPartner, and is empty for a caller that was
	// not recognized.
	Partner tenants.OrgID
}

type callTraffic struct {
	partner        atomic.Value // tenants.OrgID
	sent, received atomic.Int64
}

type trafficKey struct{}

// SetPartner tells the Traffic whose call ctx belongs to.
func SetPartner(ctx context.Context, partner tenants.OrgID) {
	if call, ok := ctx.Value(trafficKey{}).(*callTraffic); ok {
		call.partner.Store(partner)
	}
}

// TagRPC begins the count of a call.
func (t *Traffic) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	call := &callTraffic{}
	call.partner.Store(t.Partner)
	return context.WithValue(ctx, trafficKey{}, call)
}

// HandleRPC counts.
func (t *Traffic) HandleRPC(ctx context.Context, s stats.RPCStats) {
	call, ok := ctx.Value(trafficKey{}).(*callTraffic)
	if !ok {
		return
	}
	switch s := s.(type) {
	case *stats.InHeader:
		call.received.Add(int64(s.WireLength))
	case *stats.InPayload:
		call.received.Add(int64(s.WireLength))
	case *stats.InTrailer:
		call.received.Add(int64(s.WireLength))
	case *stats.OutPayload:
		call.sent.Add(int64(s.WireLength))
	case *stats.End:
		partner, _ := call.partner.Load().(tenants.OrgID)
		if n := call.sent.Load(); n > 0 {
			t.Count(partner, Sent, int(n))
		}
		if n := call.received.Load(); n > 0 {
			t.Count(partner, Received, int(n))
		}
	}
}

// TagConn does nothing: connections are not counted.
func (*Traffic) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (*Traffic) HandleConn(context.Context, stats.ConnStats) {}
