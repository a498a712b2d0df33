package gatewaytest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/gateway/gatewaytest"
)

// pods are the names under which an asker knows globex's pods, by their rate,
// which tells them apart.
func pods(t *testing.T, o *gatewaytest.Org) map[string]string {
	t.Helper()
	reply := o.Asks(`sum by (pod) (round(rate(http_requests_total{org="globex"}[5m])))`)
	if strings.Contains(string(reply.Body), "pod-g") {
		t.Fatalf("a pod's own name: %s", reply.Body)
	}
	out := map[string]string{}
	for _, s := range reply.Answer(t).Data.Result {
		var rate string
		if err := json.Unmarshal(s.Value[1], &rate); err != nil {
			t.Fatal(err)
		}
		out[rate] = s.Metric["pod"]
	}
	if len(out) != 3 || out["1"] == "" || out["1"] == out["2"] || out["2"] == out["3"] {
		t.Fatalf("%s sees the pods %v", o.ID, out)
	}
	return out
}

// A pseudonym is one partner's: within the epoch it can join by it, two
// partners can't.
func TestPseudonyms(t *testing.T) {
	t.Parallel()
	world := three(t)
	acme, globex, initech := world.Org("acme"), world.Org("globex"), world.Org("initech")
	forAYear := strings.Replace(releaseRequests, `"allow": true`, `"allow": true, "pseudonym_epoch": "52w"`, 1)
	perQuestion := strings.Replace(releaseRequests, `"allow": true`, `"allow": true, "pseudonym_epoch": "question"`, 1)
	globex.Releases("acme", forAYear)
	globex.Releases("initech", forAYear)
	world.Start()

	acmes, initechs := pods(t, acme), pods(t, initech)
	if diff := cmp.Diff(acmes, pods(t, acme)); diff != "" {
		t.Errorf("two questions of one epoch: %s", diff)
	}
	for rate, pod := range acmes {
		if initechs[rate] == pod {
			t.Errorf("acme and initech know a pod by the same name %s", pod)
		}
		// The pseudonym is of use: it can be asked for and joined on.
		if n := len(acme.Asks(`http_requests_total{org="globex",pod="` + pod + `"}`).Answer(t).Data.Result); n != 1 {
			t.Errorf("%d series of the pod %s", n, pod)
		}
		if n := len(initech.Asks(`http_requests_total{org="globex",pod="` + pod + `"}`).Answer(t).Data.Result); n != 0 {
			t.Errorf("initech finds acme's pod %s", pod)
		}
	}
	globex.Stop()
	globex.Start()
	acme.Eventually("globex is back", func() bool { return len(acme.Asks(byOrg).Vector(t)) == 3 })
	if diff := cmp.Diff(acmes, pods(t, acme)); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}

	globex.Releases("acme", perQuestion)
	acme.Eventually("the epoch is a question", func() bool { return pods(t, acme)["1"] != acmes["1"] })
	first, second := pods(t, acme), pods(t, acme)
	for rate := range first {
		if first[rate] == second[rate] {
			t.Errorf("two questions know a pod by the same name %s", first[rate])
		}
	}
	joined := acme.Asks(`count(http_requests_total{org="globex"} * on (pod) group by (pod) (http_requests_total{org="globex"}))`)
	if diff := cmp.Diff(map[string]string{`{}`: "3"}, joined.Vector(t)); diff != "" {
		t.Errorf("joined within one question: %s", diff)
	}
	if diff := cmp.Diff(initechs, pods(t, initech)); diff != "" {
		t.Errorf("initech's are others than before: %s", diff)
	}
}
