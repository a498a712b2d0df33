package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
)

// unauthenticatedError is a request of nobody we know; it says so itself.
type unauthenticatedError struct{ error }

func (e unauthenticatedError) Unwrap() error { return e.error }

// open finds out who asks and why, and starts the request's session.
func (f *Front) open(r *http.Request) (*session, error) {
	user, err := f.config.Authenticator.User(r)
	if err != nil {
		return nil, unauthenticatedError{err}
	}
	principal := tenants.Principal{Org: f.config.Org, User: user, Purpose: f.config.DefaultPurpose, Case: f.config.DefaultCase}
	if user.Proof == tenants.ProvenBySVID {
		if principal.Workload, err = spiffeid.FromString(user.Subject); err != nil {
			return nil, unauthenticatedError{err}
		}
	}
	if err := readHeaders(r, &principal); err != nil {
		return nil, err
	}
	if principal.BreakGlass, err = breakGlass(r, user); err != nil {
		return nil, err
	}
	partial, err := header(r, PartialHeader)
	if err != nil {
		return nil, err
	}
	if partial != "" && partial != "allow" && partial != "refuse" {
		return nil, fmt.Errorf("header %s is %q; it must be allow or refuse", PartialHeader, partial)
	}
	return &session{
		answerer: f.config.Answerer,
		question: gateway.Question{
			Door:          gateway.FrontDoor,
			ExchangeID:    federation.NewExchangeID(f.config.Now()),
			Principal:     principal,
			RefusePartial: partial == "refuse",
		},
	}, nil
}

func readHeaders(r *http.Request, p *tenants.Principal) error {
	purpose, err := header(r, PurposeHeader)
	if err != nil {
		return err
	}
	if purpose != "" {
		if p.Purpose, err = tenants.ParsePurpose(purpose); err != nil {
			return fmt.Errorf("header %s: %w", PurposeHeader, err)
		}
	}
	id, err := header(r, CaseHeader)
	if err != nil {
		return err
	}
	if id == "" {
		return nil
	}
	if p.Case, err = tenants.ParseCaseID(id); err != nil {
		return fmt.Errorf("header %s: %w", CaseHeader, err)
	}
	return nil
}

// breakGlass returns why a request is made in an emergency, if it is. What a
// grant is bound to has to come with it: partners would refuse it otherwise.
func breakGlass(r *http.Request, user tenants.User) (tenants.EmergencyReason, error) {
	values := r.Header.Values(BreakGlassHeader)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", fmt.Errorf("header %s is given %d times; give it once", BreakGlassHeader, len(values))
	}
	reason, err := tenants.ParseEmergencyReason(values[0])
	switch {
	case err != nil:
		return "", fmt.Errorf("header %s says why this is an emergency: %w", BreakGlassHeader, err)
	case r.Header.Get(CaseHeader) == "":
		return "", fmt.Errorf("header %s is for a case: name it in the header %s", BreakGlassHeader, CaseHeader)
	case !user.Proven():
		return "", fmt.Errorf("header %s is for a person who proves who they are, with a token or a certificate; a user that a proxy states, or none, is not enough", BreakGlassHeader)
	}
	return reason, nil
}

// header returns a header's value, or an error when it is there twice with
// different ones.
func header(r *http.Request, name string) (string, error) {
	values := slices.Compact(slices.Clone(r.Header.Values(name)))
	if len(values) > 1 {
		return "", fmt.Errorf("header %s is given with different values; give it once", name)
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}

// refuse answers a request that got no session.
func (f *Front) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if nobody := (unauthenticatedError{}); !errors.As(err, &nobody) {
		writeError(w, badRequest(err))
		return
	}
	f.config.Logger.LogAttrs(r.Context(), logRefused, "request refused", errAttr(err))
	w.Header().Set("WWW-Authenticate", "Bearer")
	writeError(w, apiError{
		status: http.StatusUnauthorized, kind: "unauthorized",
		message: "this gateway doesn't know for whom the request is made; its log has the reason",
	})
}

// bound gives a request its time.
func (f *Front) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, f.config.Timeout)
}
