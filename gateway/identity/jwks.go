package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keySet is an issuer's public keys, read again every so often and when a
// token names one we don't know. What was known last is kept while the JWKS
// can't be had.
type keySet struct {
	config JWTConfig
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	keys    []jose.JSONWebKey // replaced as a whole; nil until read
	err     error             // why the last reading failed; nil after a good one
	begun   time.Time         // when the last reading began; zero before the first
	reading chan struct{}     // closed when the reading under way ends; nil when none is
}

const jwksTimeout = 10 * time.Second

// minRSA is the least size, in bits, of an RSA key (RFC 7518, 3.3).
const minRSA = 2048

func newKeySet(config JWTConfig) *keySet {
	config.Refresh = durationOr(config.Refresh, 5*time.Minute)
	config.MinRefresh = durationOr(config.MinRefresh, 10*time.Second)
	config.Clock = clockOr(config.Clock)
	ctx, cancel := context.WithCancel(context.Background())
	k := &keySet{config: config, log: loggerOr(config.Logger), ctx: ctx, cancel: cancel}
	k.done.Go(k.run)
	return k
}

func (k *keySet) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.done.Wait()
}

func (k *keySet) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.keys != nil:
		return nil
	case k.err != nil:
		return fmt.Errorf("the JWKS of %s: %w", k.config.Issuer, k.err)
	default:
		return fmt.Errorf("the JWKS of %s is still awaited", k.config.Issuer)
	}
}

// run reads the JWKS every Refresh, and every MinRefresh until the first time
// that it can be had.
func (k *keySet) run() {
	for {
		if reading := k.read(); reading != nil {
			select {
			case <-k.ctx.Done():
			case <-reading:
			}
		}
		wait := k.config.Refresh
		if k.ready() != nil {
			wait = min(wait, k.config.MinRefresh)
		}
		timer := time.NewTimer(wait)
		select {
		case <-k.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// key returns the public key that a token signed with alg must be verified
// with. An empty kid is good when there is only one key it can be.
func (k *keySet) key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	if key, err := k.find(kid, alg); err == nil {
		return key, nil
	}
	reading := k.read() //nolint:contextcheck // others wait for the same reading, and it ends with the key set
	if reading != nil {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-reading:
		}
	}
	return k.find(kid, alg)
}

func (k *keySet) find(kid, alg string) (crypto.PublicKey, error) {
	k.mu.Lock()
	keys, err := k.keys, k.err
	k.mu.Unlock()
	if keys == nil && err == nil {
		err = errNothingYet
	}
	if keys == nil {
		return nil, fmt.Errorf("the issuer's keys are not known yet: %w", err)
	}
	var found []jose.JSONWebKey
	for _, key := range keys {
		if (kid == "" || key.KeyID == kid) && (key.Algorithm == "" || key.Algorithm == alg) && fits(key.Key, alg) {
			found = append(found, key)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].Key, nil
	case kid == "":
		return nil, fmt.Errorf("it has no kid, and %d keys of the issuer's could be meant", len(found))
	case len(found) == 0:
		return nil, errors.New("the issuer has no such key")
	default:
		return nil, errors.New("the issuer has several keys of that kid")
	}
}

// fits says whether a key is of the kind that alg signs with.
func fits(key any, alg string) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return strings.HasPrefix(alg, "ES")
	case ed25519.PublicKey:
		return alg == "EdDSA"
	default:
		return false
	}
}

// read begins a reading, unless one is under way or was begun a moment ago.
// The channel is closed when the reading under way ends; nil: there is none.
func (k *keySet) read() <-chan struct{} {
	now := k.config.Clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.reading != nil {
		return k.reading
	}
	if !k.begun.IsZero() && now.Sub(k.begun) < k.config.MinRefresh {
		return nil
	}
	k.begun = now
	reading := make(chan struct{})
	k.reading = reading
	k.done.Go(func() {
		keys, err := k.load()
		k.took(keys, err)
		close(reading)
	})
	return reading
}

func (k *keySet) took(keys []jose.JSONWebKey, err error) {
	k.mu.Lock()
	news := err != nil && (k.err == nil || k.err.Error() != err.Error())
	k.reading, k.err = nil, err
	if err == nil {
		k.keys = keys
	}
	k.mu.Unlock()
	if news && k.ctx.Err() == nil {
		k.log.Error("the JWKS can't be read; the keys known last are used", "issuer", k.config.Issuer, "error", err)
	}
}

func (k *keySet) load() ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(k.ctx, jwksTimeout)
	defer cancel()
	var data []byte
	var err error
	if _, ok := isURL(k.config.JWKS); ok {
		data, err = fetch(ctx, k.config.JWKS, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: k.config.WebRoots})
	} else {
		data, err = readFile(k.config.JWKS)
	}
	if err != nil {
		return nil, err
	}
	return parseJWKS(data)
}

// parseJWKS returns the keys of a JWKS that signatures are verified with. Keys
// of a kind we don't know are left out (RFC 7517, section 5).
func parseJWKS(data []byte) ([]jose.JSONWebKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not a JWKS: %w", err)
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range doc.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(raw, &key); err != nil || key.Use != "" && key.Use != "sig" || !key.IsPublic() || !key.Valid() {
			continue
		}
		if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the JWKS has no public key that a signature can be verified with")
	}
	return keys, nil
}
