// Package attacks asks, as a partner who means ill, for what policy hides, and
// counts the bits it gets. `make attacks` runs it; ATTACKS.md has the tables.
//
// A store holds many worlds, each with secrets drawn anew in every run: which
// of sixteen users has a spike, what a user is called, what three people's
// numbers sum to. An attack is a function that is given somewhere to ask and a
// world, and returns a guess of one of its secrets. It is made in every world,
// over the same store, on several grounds:
//
//	Prometheus    asked directly: every attack has to succeed there, or it is none;
//	              for traces it is the owner's gateway, as one of its own people
//	label proxy   prom-label-proxy before the same Prometheus
//	front         through the partner's own gateway, over HTTP
//	peer          straight at the owner's peer door, with the key of the partner's gateway
//
// The last two for each policy that hides the secret, and for one that differs
// in what hides it alone, so that it is known that the attack works there. What
// guesses show is counted by Learned. Guesses are only as good as whoever wrote
// the attack, so everything that was answered is kept as well, and
// Distinguishable says whether it differs by the secret at all. Either above
// chance fails the test.
package attacks

import (
	"encoding/json"
	"fmt"
	"os"
)

// The grounds. Those at parley's doors are a policy and a door, such as
// "rows, front".
const (
	// Direct is a Prometheus or, of traces, the owner's own door.
	Direct     = "Prometheus"
	LabelProxy = "label proxy"

	// Unhidden is each secret's own: as ever, but for what hides it.
	Unhidden    = "unhidden"
	Rows        = "rows"
	Cells       = "cells"
	CoarseCells = "coarse cells"
	Events      = "events"
	Floors      = "floors"
	Spans       = "spans"
	Boundary    = "boundary"

	Front = "front"
	Peer  = "peer"
)

// Ground is the name of a policy at a door.
func Ground(policy, door string) string { return policy + ", " + door }

// Results are those of one run.
type Results struct {
	// Date is when the run began, as YYYY-MM-DD.
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Go      string `json:"go"`
	Command string `json:"command"`
	// Seed is what the secrets were drawn from.
	Seed   uint64 `json:"seed"`
	Worlds int    `json:"worlds"`
	// Alpha is with what probability one result is above nothing by chance.
	Alpha   float64  `json:"alpha"`
	Attacks []Result `json:"attacks"`
}

// Result is what one attack got.
type Result struct {
	// Chapter is what it is about.
	Chapter string `json:"chapter"`
	Name    string `json:"name"`
	Learns  string `json:"learns"`
	// Bits is how many the secret has.
	Bits float64 `json:"bits"`
	// Policies are those that hide the secret.
	Policies []string `json:"policies"`
	// Foreign says that the secret is in series of another tenant: those alone a
	// label proxy is there to hide.
	Foreign bool `json:"foreign,omitempty"`
	// Open is why policies don't stop it, by policy.
	Open map[string]string `json:"open,omitempty"`
	// Traces says that it is after traces, and isn't made at a Prometheus.
	Traces bool `json:"traces,omitempty"`
	// Timed says that it measures time.
	Timed bool `json:"timed,omitempty"`
	// Got is what it got, by ground.
	Got map[string]Got `json:"got"`
}

// Got is what an attack got on one ground.
type Got struct {
	Right  int `json:"right"`
	Trials int `json:"trials"`
	// Bits are those that guesses show.
	Bits float64 `json:"bits"`
	// Seen are those by which all that was answered differs, and Ways is in how
	// many ways it does; 1 is that it was the same in all worlds.
	Seen float64 `json:"seen"`
	Ways int     `json:"ways"`
	// Slower is how many times longer an answer takes where there is what is
	// looked for, of an attack that measures time.
	Slower float64 `json:"slower,omitempty"`
}

// most is the larger of what guesses and answers show.
func (g Got) most() float64 { return max(g.Bits, g.Seen) }

// At is what an attack got from a policy at the door where it got most.
func (r Result) At(policy string) (got Got, made bool) {
	for _, door := range []string{Front, Peer} {
		if g, ok := r.Got[Ground(policy, door)]; ok && (!made || g.most() > got.most()) {
			got, made = g, true
		}
	}
	return got, made
}

// Save writes the results as JSON.
func (r Results) Save(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // a file for everybody to read
}

// Load reads what Save wrote.
func Load(file string) (Results, error) {
	var r Results
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%w; make attacks writes it", err)
	}
	return r, nil
}
