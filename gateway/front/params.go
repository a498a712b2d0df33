package front

import (
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
)

// param is one parameter an endpoint understands. What a value means is for
// web/api/v1, as is the error when it means nothing; check refuses only what
// that package lets pass.
type param struct {
	name  string
	many  bool
	check func(value string) error
	// ignore: clients send it, it makes no difference here.
	ignore bool
}

func one(name string) param  { return param{name: name} }
func many(name string) param { return param{name: name, many: true} }
func at(name string) param   { return param{name: name, check: checkTime} }

var (
	expression = param{name: "query", check: checkExpression}
	matchers   = param{name: "match[]", many: true, check: checkExpression}
	limit      = one("limit")
	step       = one("step")
	timeout    = one("timeout")
	lookback   = one("lookback_delta")
	// statistics asks how long the engine took where and what it read. That is about
	// the owners' data, and isn't told.
	statistics = param{name: "stats", ignore: true}
)

// understand returns the request as the API gets it: nothing in it but the
// parameters that were understood, each once.
func (f *Front) understand(w http.ResponseWriter, r *http.Request, e endpoint) (*http.Request, error) {
	r.Body = http.MaxBytesReader(w, r.Body, f.config.MaxBody)
	form := r.URL.Query()
	if e.path != readPath { // whose body is not a form
		if err := parseForm(r); err != nil {
			return nil, err
		}
		form = r.Form
	}
	understood := url.Values{}
	for name, values := range form {
		i := slices.IndexFunc(e.params, func(p param) bool { return p.name == name })
		if i < 0 {
			return nil, unknownParam(e, name)
		}
		values, err := e.params[i].understand(values)
		if err != nil {
			return nil, err
		}
		if !e.params[i].ignore {
			understood[name] = values
		}
	}
	out := r.Clone(r.Context())
	out.Form, out.PostForm = understood, understood
	out.URL.RawQuery = ""
	if !e.socket { // whose handshake refuses others
		out.Header.Del("Origin") // nothing is served across origins
	}
	if e.path != readPath {
		out.Body = http.NoBody
		out.ContentLength = 0
	}
	return out, nil
}

// parseForm reads the parameters from the URL and, of a POST, from the body.
func parseForm(r *http.Request) error {
	contentType := r.Header.Get("Content-Type")
	if r.Method == http.MethodPost && contentType != "" {
		media, _, err := mime.ParseMediaType(contentType)
		if err != nil || media != "application/x-www-form-urlencoded" {
			return fmt.Errorf("a body of type %q can't be read; send application/x-www-form-urlencoded", contentType)
		}
	}
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fmt.Errorf("the body is larger than the %d bytes accepted", tooLarge.Limit)
	}
	if err != nil {
		return fmt.Errorf("the parameters can't be read: %w", err)
	}
	return nil
}

// understand returns the values, equal ones once. Grafana sends its custom
// parameters twice; two that differ leave open which is meant.
func (p param) understand(values []string) ([]string, error) {
	distinct := make([]string, 0, len(values))
	for _, v := range values {
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("parameter %q isn't valid UTF-8", p.name)
		}
		if !slices.Contains(distinct, v) {
			distinct = append(distinct, v)
		}
	}
	if !p.many && len(distinct) > 1 {
		return nil, fmt.Errorf("parameter %q is given %d times with different values; give it once", p.name, len(distinct))
	}
	if p.check == nil {
		return distinct, nil
	}
	for _, v := range distinct {
		if err := p.check(v); err != nil {
			return nil, fmt.Errorf("invalid parameter %q: %w", p.name, err)
		}
	}
	return distinct, nil
}

func unknownParam(e endpoint, name string) error {
	if len(e.params) == 0 {
		return fmt.Errorf("parameter %q isn't known; %s takes none", name, e.path)
	}
	known := make([]string, 0, len(e.params))
	for _, p := range e.params {
		known = append(known, p.name)
	}
	return fmt.Errorf("parameter %q isn't known; %s takes %s", name, e.path, strings.Join(known, ", "))
}

// maxSeconds is the last second whose milliseconds fit in an int64.
const maxSeconds = math.MaxInt64 / 1000

// checkTime refuses numbers that are no time at all.
func checkTime(value string) error {
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return nil //nolint:nilerr // not a number: RFC 3339, or web/api/v1 refuses it
	}
	if math.IsNaN(seconds) || math.Abs(seconds) > maxSeconds {
		return fmt.Errorf("%q is not a time", value)
	}
	return nil
}

// maxExpressionBytes bounds an expression or a selector before it is looked at.
const maxExpressionBytes = 128 << 10

// checkExpression refuses what would take too long to read. web/api/v1 says what
// is wrong with the rest, in its own words.
func checkExpression(value string) error {
	if len(value) > maxExpressionBytes {
		return fmt.Errorf("the expression is longer than the %d bytes accepted", maxExpressionBytes)
	}
	if err := metrics.CheckText(value); err != nil {
		return errors.New(federation.AsError(err).Message)
	}
	return nil
}
