package wire

import (
	"errors"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

const (
	// A part of a tail has at most so many entries and bytes.
	maxPartEntries   = 10_000
	maxTailPartBytes = 16 << 20

	maxDropped = 1 << 40

	// maxAhead is how far from now on an entry's time may be: clocks differ a
	// little. Later ones would come after all that anybody else has.
	maxAhead = time.Minute
)

// TailReceiver puts the parts of a tail together from its messages:
//
//	released, part, whole, err := receiver.Add(message)
//
// It holds one part at a time. Entries whose times are more than a minute ahead are
// left out, and counted as dropped. An error is final, as a Receiver's is.
type TailReceiver struct {
	org      tenants.OrgID
	question logs.Question
	limits   Limits
	now      func() time.Time
	part     *Receiver // the one that is coming
}

// NewTailReceiver returns a TailReceiver for org's answer to a tail; now is the
// clock. The error is a BadQuestion.
func NewTailReceiver(org tenants.OrgID, question federation.Question, l Limits, now func() time.Time) (*TailReceiver, error) {
	q, ok := question.(logs.Question)
	if !ok || q.Kind != policy.Tail {
		return nil, bad("only logs have a tail, and its question is of the kind tail")
	}
	l = l.orDefault()
	l.Bytes = min(l.Bytes, maxTailPartBytes)
	t := &TailReceiver{org: org, question: q, limits: l, now: now}
	t.part = t.next()
	return t, nil
}

func (t *TailReceiver) next() *Receiver {
	r := newReceiver(t.org, t.limits)
	r.tail, r.now = true, t.now
	_ = r.asksLogs(t.question) // it is a tail, as NewTailReceiver says
	return r
}

// Add takes the next message. With the last one of a part, whole is true and the
// part is returned: it has everything but its latency.
func (t *TailReceiver) Add(m *federationv1.AskResponse) (released *logs.Released, part federation.Part, whole bool, err error) {
	if err := t.part.Add(m); err != nil {
		return nil, part, false, err
	}
	if t.part.part == nil {
		return nil, part, false, nil
	}
	finished, part, err := t.part.Finish()
	if err != nil {
		return nil, part, false, err
	}
	t.part = t.next()
	released, ok := finished.(*logs.Released)
	if !ok {
		return nil, part, false, errors.New("something that isn't logs")
	}
	return released, part, true, nil
}

// Started says whether a part has begun to come and isn't whole.
func (t *TailReceiver) Started() bool { return t.part.received > 0 }
