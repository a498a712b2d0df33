package front

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/util/annotations"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/parley-gateway/parley/federation"
)

// notice is a warning or an info about the whole request. Its text is made when
// the response is written, so that a request with several questions has one
// warning that speaks of them all.
type notice struct {
	session *session
	words   func(federation.Completeness) string
	kind    error
}

func (n notice) Error() string {
	c, _ := n.session.outcome()
	return n.words(c)
}

// Unwrap tells web/api/v1 whether this is a warning or an info.
func (n notice) Unwrap() error { return n.kind }

// notices are what the API says beside an answer: at most one warning, about
// what is missing, and one info, about what was redacted.
func (s *session) notices() annotations.Annotations {
	c, _ := s.outcome()
	out := annotations.Annotations{}
	if missing(c) != "" {
		out["missing"] = notice{s, missing, annotations.PromQLWarning}
	}
	if redacted(c) != "" {
		out["redacted"] = notice{s, redacted, annotations.PromQLInfo}
	}
	return out
}

// codec is Prometheus's JSON with all warnings in one string and all infos in
// another: a Grafana panel shows only the last of each.
type codec struct{ v1.JSONCodec }

func (c codec) Encode(resp *v1.Response) ([]byte, error) {
	merged := *resp
	merged.Warnings = oneString(resp.Warnings)
	merged.Infos = oneString(resp.Infos)
	if body, ok := encodeMatrix(&merged, c.JSONCodec.Encode); ok {
		return body, nil
	}
	return c.JSONCodec.Encode(&merged)
}

func oneString(texts []string) []string {
	if len(texts) < 2 {
		return texts
	}
	sorted := slices.Sorted(slices.Values(texts))
	return []string{strings.Join(sorted, " ")}
}
