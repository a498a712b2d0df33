package front

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// endpoint is one path of the API that is served.
type endpoint struct {
	path    string
	methods []string
	// params are the parameters that are understood; any other is refused.
	params []param
	// serve answers; nil is web/api/v1.
	serve func(f *Front, w http.ResponseWriter, r *http.Request)
	// socket: the answer is a WebSocket, which lasts as long as it is wanted and
	// may be asked for by this door's own pages alone.
	socket bool
	// errors writes errors as clients of this API read them; nil: as Prometheus's do.
	errors dialect
}

var (
	getOrPost = []string{http.MethodGet, http.MethodPost}
	getOnly   = []string{http.MethodGet}
	postOnly  = []string{http.MethodPost}
)

// endpoints are what this door serves of Prometheus's API. status/flags is
// missing on purpose: whoever answers it is taken for Thanos.
var endpoints = []endpoint{
	{path: "/api/v1/query", methods: getOrPost, params: []param{expression, at("time"), timeout, limit, lookback, statistics}},
	{path: "/api/v1/query_range", methods: getOrPost, params: []param{expression, at("start"), at("end"), step, timeout, limit, lookback, statistics}},
	{path: "/api/v1/query_exemplars", methods: getOrPost, params: []param{expression, at("start"), at("end")}, serve: serveExemplars},
	{path: "/api/v1/series", methods: getOrPost, params: []param{matchers, at("start"), at("end"), limit}},
	{path: "/api/v1/labels", methods: getOrPost, params: []param{matchers, at("start"), at("end"), limit}},
	{path: "/api/v1/label/<name>/values", methods: getOnly, params: []param{matchers, at("start"), at("end"), limit}},
	{path: "/api/v1/metadata", methods: getOnly, params: []param{one("metric"), limit, one("limit_per_metric")}, serve: serveMetadata},
	{path: "/api/v1/read", methods: postOnly, serve: serveRead},
	{path: "/api/v1/format_query", methods: getOrPost, params: []param{expression}},
	{path: "/api/v1/parse_query", methods: getOrPost, params: []param{expression}},
	{path: "/api/v1/status/buildinfo", methods: getOnly},
	// A gateway has no rules and so no alerts: empty lists are the truth, and
	// whichever of them are asked for makes no difference.
	{path: "/api/v1/rules", methods: getOnly, params: []param{
		one("type"), many("rule_name[]"), many("rule_group[]"), many("file[]"), matchers,
		one("exclude_alerts"), one("group_limit"), one("group_next_token"),
	}},
	{path: "/api/v1/alerts", methods: getOnly},
}

// under are the endpoints of an API below a prefix.
func under(prefix string, errors dialect, endpoints []endpoint) []endpoint {
	for i := range endpoints {
		endpoints[i].path, endpoints[i].errors = prefix+endpoints[i].path, errors
	}
	return endpoints
}

// served are all endpoints.
func served() []endpoint {
	return slices.Concat(endpoints, lokiEndpoints, tempoEndpoints, jaegerEndpoints, parleyEndpoints)
}

// apiOf is what is served of the API that a path belongs to, and how its errors
// are written.
func apiOf(path string) ([]endpoint, dialect) {
	switch {
	case strings.HasPrefix(path, lokiPrefix):
		return lokiEndpoints, lokiError
	case strings.HasPrefix(path+"/", tempoPrefix):
		return tempoEndpoints, tempoError
	case strings.HasPrefix(path+"/", jaegerPrefix):
		return jaegerEndpoints, jaegerError
	case strings.HasPrefix(path, parleyPrefix):
		return parleyEndpoints, nil
	}
	return endpoints, nil
}

// endpointFor finds the endpoint of a path, which must match to the letter.
func endpointFor(path string) (endpoint, bool) {
	for _, e := range served() {
		if e.isAt(path) {
			return e, true
		}
	}
	return endpoint{}, false
}

// isAt says whether a path is the endpoint's. A <name> in that is anything but a
// slash, and a <name...> may have slashes too.
func (e endpoint) isAt(path string) bool {
	before, after, hasName := strings.Cut(e.path, "<name>")
	slashes := false
	if !hasName {
		before, after, slashes = strings.Cut(e.path, "<name...>")
	}
	if !hasName && !slashes {
		return path == e.path
	}
	name, ok := strings.CutPrefix(path, before)
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, after)
	return ok && name != "" && (slashes || !strings.Contains(name, "/"))
}

// ask takes a request to an endpoint: who asks, with which parameters, and
// then the endpoint itself.
func (f *Front) ask(w *response, r *http.Request, e endpoint) {
	w.errors = e.errors
	if !slices.Contains(e.methods, r.Method) {
		allowed := strings.Join(e.methods, ", ")
		w.Header().Set("Allow", allowed)
		writeError(w, apiError{
			status: http.StatusMethodNotAllowed, kind: "bad_data",
			message: fmt.Sprintf("%s isn't served with %s; use %s", e.path, r.Method, allowed),
		})
		return
	}
	s, err := f.open(r)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	w.session = s
	ctx := s.in(r.Context())
	if !e.socket {
		var cancel context.CancelFunc
		ctx, cancel = f.bound(ctx)
		defer cancel()
	}
	understood, err := f.understand(w, r.WithContext(ctx), e)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	if e.serve != nil {
		e.serve(f, w, understood)
		return
	}
	f.api.ServeHTTP(w, understood)
}
