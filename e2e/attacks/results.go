// Package attacks asks, as a partner who means ill, for what policy hides, and
// counts the bits it gets. `make attacks` runs it; ATTACKS.md has the table.
//
// A store holds many worlds, each with secrets drawn anew in every run: which
// of sixteen users has a spike, what a user is called, what three people's
// numbers sum to. An attack is a function that is given somewhere to ask and a
// world, and returns a guess of one of its secrets. It is made in every world,
// over the same store, on several grounds:
//
//	Prometheus    asked directly: every attack has to succeed there, or it is none
//	label proxy   prom-label-proxy before the same Prometheus
//	front         through the partner's own gateway, over HTTP
//	peer          straight at the owner's peer door, with the key of the partner's gateway
//
// The last two for each policy that hides the secret. What guesses show is
// counted by Learned. Guesses are only as good as whoever wrote the attack, so
// everything that was answered is kept as well, and Distinguishable says
// whether it differs by the secret at all. Either above chance fails the test.
package attacks

// Results are those of one run.
type Results struct {
	// Date is when the run began, as YYYY-MM-DD.
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Go      string `json:"go"`
	Command string `json:"command"`
	Worlds  int    `json:"worlds"`
	// Alpha is with what probability one result is above nothing by chance.
	Alpha   float64  `json:"alpha"`
	Attacks []Result `json:"attacks"`
}

// Result is what one attack got.
type Result struct {
	Name   string `json:"name"`
	Learns string `json:"learns"`
	// Bits is how many the secret has.
	Bits float64 `json:"bits"`
	// Foreign says that the secret is in series of another tenant: those alone a
	// label proxy is there to hide.
	Foreign bool `json:"foreign,omitempty"`
	// Open is why policies don't stop it, by policy.
	Open map[string]string `json:"open,omitempty"`
	// Got is what it got, by ground.
	Got map[string]Got `json:"got"`
}

// Got is what an attack got on one ground.
type Got struct {
	Right  int     `json:"right"`
	Trials int     `json:"trials"`
	Bits   float64 `json:"bits"`
	// Seen are the bits by which all that was answered differs.
	Seen float64 `json:"seen"`
	// Slower is how many times longer an answer takes where there is what is
	// looked for, of an attack that measures time.
	Slower float64 `json:"slower,omitempty"`
}

// The grounds. Those of policies are Policy + Door.
const (
	Direct     = "prometheus"
	LabelProxy = "label proxy"

	Rows      = "rows"
	Cells     = "cells"
	Events    = "events"
	Floors    = "floors"
	FrontDoor = ", front"
	PeerDoor  = ", peer"
)
