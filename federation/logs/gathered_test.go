package logs

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// What is first and last of entries of one time is so by organization, in
// whatever order these are asked.
func TestFirstAndLastOfEntriesOfOneTime(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	member := func(org tenants.OrgID, line string) Member {
		return Member{Org: org, Ask: func(context.Context, Question) (*Released, federation.Part, error) {
			e := Entry{At: at.UnixNano()}
			e.Line, e.Stream = line, labels.FromStrings("org", string(org), "service", "checkout")
			return Received(Answer{Entries: []Entry{e}}), federation.Part{Org: org, Status: federation.Complete}, nil
		}}
	}
	for _, members := range [][]Member{
		{member("acme", "n=1"), member("globex", "n=2"), member("initech", "n=3")},
		{member("initech", "n=3"), member("acme", "n=1"), member("globex", "n=2")},
	} {
		for op, want := range map[string]float64{"first_over_time": 1, "last_over_time": 3} {
			q := Question{Kind: policy.Instant, Expression: op + `({service="checkout"} | logfmt | unwrap n [1h]) by (service)`, Start: at, End: at}
			released, completeness, err := NewFederated(0, nil).Answer(t.Context(), q, members)
			if err != nil {
				t.Fatal(err)
			}
			matrix, err := released.Numbers().Matrix()
			if err != nil || len(matrix) != 1 || matrix[0].Floats[0].F != want {
				t.Errorf("%s: got %v, want %v: %v", op, matrix, want, err)
			}
			if len(completeness) != 3 || completeness[0].Org != "acme" || completeness[2].Org != "initech" {
				t.Errorf("%s: the completeness is %+v", op, completeness)
			}
		}
	}
}
