// Package transfer measures what crossed the border: how many questions, how
// long they took, and how many series, samples, lines, spans and bytes were
// disclosed, by partner, signal and direction.
//
//	meter, err := transfer.New(registry, transfer.Config{Org: "acme", Known: directory.Knows})
//	meter.Observe(exchange)
//
// It reads the same Exchange as audit, so that the two can't disagree. A partner
// label is our own organization for our own users, the name of an organization
// there is an agreement with, or "unknown": whoever knocks can't make series.
package transfer

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
)

// Direction is which way an answer went.
type Direction string

const (
	// Answered is what we gave: to the partner, or to our own users.
	Answered Direction = "answered"
	// Asked is what the partner gave us.
	Asked Direction = "asked"
)

// unknown stands for every label value that is not of a closed set.
const unknown = "unknown"

// Config of a Meter.
type Config struct {
	// Org is the organization whose gateway this is.
	Org tenants.OrgID
	// Known says whether there is an agreement with an organization. Nil knows
	// none.
	Known func(tenants.OrgID) bool
}

// Meter counts exchanges. It is safe for concurrent use.
type Meter struct {
	config          Config
	questions       *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	series, samples *prometheus.CounterVec
	lines, spans    *prometheus.CounterVec
	bytes           *prometheus.CounterVec
	wire            *prometheus.CounterVec
	tails           *prometheus.GaugeVec
}

var _ gateway.Meter = (*Meter)(nil)

// New returns a Meter whose metrics are registered with reg.
func New(reg prometheus.Registerer, c Config) (*Meter, error) {
	way := []string{"partner", "signal", "direction"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Meter{
		config: c,
		questions: counter("parley_questions_total",
			"Questions by how they ended. Direction answered: the partner (or, under our own name, our user) asked us; asked: we asked the partner.",
			append(way, "outcome")...),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "parley_question_duration_seconds",
			Help:                            "Time from a question's arrival, or from asking the partner, to the end of its answer.",
			Buckets:                         []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, way),
		series: counter("parley_disclosed_series_total",
			"Series in answers, after redaction.", way...),
		samples: counter("parley_disclosed_samples_total",
			"Samples in answers, after redaction; a native histogram counts as one.", way...),
		lines: counter("parley_disclosed_lines_total",
			"Lines of logs in answers, after redaction.", way...),
		spans: counter("parley_disclosed_spans_total",
			"Spans of traces in answers, after redaction; a withheld one that stands for others counts as one.", way...),
		bytes: counter("parley_disclosed_bytes_total",
			"Message bytes of answers before compression.", way...),
		wire: counter("parley_wire_bytes_total",
			"Bytes on the wire with a partner, after compression. Direction answered: on connections it made to us; asked: on ours to it. Flow sent: from us to it; received: from it to us.",
			"partner", "direction", "flow"),
		tails: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "parley_tails", Help: "Tails that run, by the partner that asked us or, under our own name, our users.",
		}, []string{"partner"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.questions, m.duration, m.series, m.samples, m.lines, m.spans, m.bytes, m.wire, m.tails} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("transfer: register metrics: %w", err)
	}
	return m, nil
}

// Observe counts an exchange: what we answered and, at the front door, what
// each partner that was asked gave us. A tail is a question at its end, and has no
// duration that says anything.
func (m *Meter) Observe(x gateway.Exchange) {
	asker := x.Principal.Org
	if x.Door == gateway.FrontDoor {
		asker = m.config.Org
	}
	cost := federation.Cost{Series: x.Series, Samples: x.Samples, Lines: x.Lines, Spans: x.Spans, Bytes: x.Bytes, Latency: x.Latency}
	observe := m.observe
	if x.Tail != nil {
		cost.Latency = 0
		if x.Tail.Stage != gateway.TailEnded {
			observe = m.disclosed
		}
		// Under the name it opened with, also when the agreement is gone: who has a
		// tail had one.
		switch x.Tail.Stage {
		case gateway.TailOpened:
			m.tails.WithLabelValues(string(asker)).Inc()
		case gateway.TailEnded:
			m.tails.WithLabelValues(string(asker)).Dec()
		case gateway.TailGoesOn:
		}
	}
	observe(asker, x.Signal, Answered, x.Outcome, cost)
	if x.Door != gateway.FrontDoor {
		return
	}
	for _, part := range x.Completeness {
		if part.Org != m.config.Org && part.Status != federation.NotAsked {
			observe(part.Org, x.Signal, Asked, outcomeOf(part.Status), part.Cost)
		}
	}
}

// Wire counts n bytes sent to or received from a partner.
func (m *Meter) Wire(partner tenants.OrgID, d Direction, f wire.Flow, n int) {
	m.wire.WithLabelValues(m.partner(partner), string(d), string(f)).Add(amount(n))
}

func (m *Meter) observe(partner tenants.OrgID, s tenants.Signal, d Direction, o gateway.Outcome, c federation.Cost) {
	m.questions.WithLabelValues(m.partner(partner), signal(s), string(d), outcome(o)).Inc()
	m.disclosed(partner, s, d, o, c)
	// A partner that never answered has no latency to tell.
	if c.Latency > 0 {
		m.duration.WithLabelValues(m.partner(partner), signal(s), string(d)).Observe(c.Latency.Seconds())
	}
}

// disclosed counts what an answer, or a part of one, holds.
func (m *Meter) disclosed(partner tenants.OrgID, s tenants.Signal, d Direction, _ gateway.Outcome, c federation.Cost) {
	way := []string{m.partner(partner), signal(s), string(d)}
	m.series.WithLabelValues(way...).Add(amount(c.Series))
	m.samples.WithLabelValues(way...).Add(amount(c.Samples))
	m.lines.WithLabelValues(way...).Add(amount(c.Lines))
	m.spans.WithLabelValues(way...).Add(amount(c.Spans))
	m.bytes.WithLabelValues(way...).Add(amount(c.Bytes))
}

// amount is what a counter can take: a cost may be what a partner stated.
func amount(n int) float64 { return float64(max(n, 0)) }

func (m *Meter) partner(org tenants.OrgID) string {
	if org != "" && (org == m.config.Org || m.config.Known != nil && m.config.Known(org)) {
		return string(org)
	}
	return unknown
}

func signal(s tenants.Signal) string {
	switch s {
	case tenants.Metrics, tenants.Logs, tenants.Traces:
		return string(s)
	}
	return unknown
}

func outcome(o gateway.Outcome) string {
	switch o {
	case gateway.Answered, gateway.Partially, gateway.Refused, gateway.Failed:
		return string(o)
	}
	return unknown
}

// outcomeOf is how our question to a partner ended.
func outcomeOf(s federation.Status) gateway.Outcome {
	switch s {
	case federation.Complete:
		return gateway.Answered
	case federation.Partial:
		return gateway.Partially
	case federation.Denied:
		return gateway.Refused
	case federation.Unreachable, federation.Timeout, federation.NotAsked:
		return gateway.Failed
	}
	return gateway.Failed
}
