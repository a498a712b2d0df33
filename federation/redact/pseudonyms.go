package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// Pseudonyms stand for values. They are for one question, and not safe for
// concurrent use.
type Pseudonyms struct {
	keyed hash.Hash // HMAC under the asker's key of the epoch
	known map[string]string
}

// NewPseudonyms returns those of an asker. They are made with a key derived from
// the gateway's secret, per asker and epoch, where a zero epoch is the question
// itself. The epoch is that of the time in the exchange id, so that all that is
// asked under one id has the same pseudonyms however long it takes. The name of
// a label has no part in it, so that an asker can join `user` in metrics with
// `user_id` in logs.
func NewPseudonyms(secret []byte, by federation.Asking, epoch time.Duration) (*Pseudonyms, error) {
	scope := "exchange\xff" + string(by.ExchangeID)
	if epoch > 0 {
		made, err := by.ExchangeID.Time()
		if err != nil {
			return nil, err
		}
		scope = "epoch\xff" + made.Truncate(epoch).Format(time.RFC3339Nano) + "\xff" + epoch.String()
	}
	key := Derive(secret, "pseudonym", by.Org, scope)
	return &Pseudonyms{keyed: hmac.New(sha256.New, key), known: map[string]string{}}, nil
}

// Derive returns a key for one use of the gateway's secret.
func Derive(secret []byte, use string, asker tenants.OrgID, scope string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(use + "\xff" + string(asker) + "\xff" + scope))
	return mac.Sum(nil)
}

// Of is HMAC-SHA-256 of the value, cut to 100 bits: enough that two of a
// billion values collide with a chance below one in a trillion.
func (p *Pseudonyms) Of(value string) string {
	if out, ok := p.known[value]; ok {
		return out
	}
	p.keyed.Reset()
	p.keyed.Write([]byte(value))
	out := pseudonymPrefix + base32Lower.EncodeToString(p.keyed.Sum(nil))[:20]
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	p.known[value] = out
	return out
}

const (
	// pseudonymPrefix tells a reader that a value is a pseudonym.
	pseudonymPrefix = "p-"
	// maxKnown bounds what is remembered: lines have more values than labels.
	maxKnown = 100_000
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
