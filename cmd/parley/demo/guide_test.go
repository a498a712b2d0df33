package demo_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/tenants"
)

func TestGuideFitsAScreen(t *testing.T) {
	for data, urls := range map[string]map[tenants.OrgID]string{
		"":              {"acme": "http://127.0.0.1:9480", "globex": "http://127.0.0.1:9481", "initech": "http://127.0.0.1:9482"},
		"/home/me/demo": {"acme": "http://127.0.0.1:55555", "globex": "http://127.0.0.1:55556", "initech": "http://127.0.0.1:55557"},
	} {
		var out bytes.Buffer
		if err := demo.Guide(&out, "bin/parley", urls, data); err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + out.String())
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("%d lines, a screen has 24", len(lines))
		}
		for _, line := range lines {
			// A question is one line, to be copied.
			question := strings.HasPrefix(line, "  bin/parley") || strings.HasPrefix(line, "  curl")
			if len(line) > 100 || len(line) > 80 && !question {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
		for _, url := range urls {
			if !strings.Contains(out.String(), url) {
				t.Errorf("%s isn't named", url)
			}
		}
		if data != "" && !strings.Contains(out.String(), "\n  bin/parley demo --http 127.0.0.1:55555 --data "+data+"\n") {
			t.Error("it doesn't say how to start again")
		}
		exported := strings.Contains(out.String(), "PARLEY_GATEWAY")
		if exported == (urls["acme"] == "http://127.0.0.1:9480") {
			t.Errorf("PARLEY_GATEWAY is named: %t", exported)
		}
	}
}

func TestAgreementsAreRead(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, owner := range demo.Companies() {
		agreements := agreementsOf(t, owner.Org, now)
		if len(agreements) != 2 {
			t.Fatalf("%s has %d agreements, want two", owner.Org, len(agreements))
		}
		for _, a := range agreements {
			if a.GatewayID.String() != "spiffe://"+string(a.Partner)+".example/parley" || a.Bundle.EndpointID != a.GatewayID {
				t.Errorf("%s with %s: gateway %s, bundle endpoint %s", owner.Org, a.Partner, a.GatewayID, a.Bundle.EndpointID)
			}
			if len(a.Addresses) != 1 || a.Bundle.Profile != tenants.HTTPSSPIFFE || a.Bundle.Endpoint.String() != "https://127.0.0.1:9500" {
				t.Errorf("%s with %s: %+v", owner.Org, a.Partner, a)
			}
			if !a.NotAfter.Equal(now.AddDate(1, 0, 0)) {
				t.Errorf("%s with %s: ends %s", owner.Org, a.Partner, a.NotAfter)
			}
			for _, purpose := range purposes {
				if err := a.Covers(now, tenants.Metrics, purpose); err != nil {
					t.Errorf("%s with %s: %v", owner.Org, a.Partner, err)
				}
			}
		}
	}
}

func TestNobodyElseHasPolicies(t *testing.T) {
	if _, err := demo.Policies("hooli"); err == nil {
		t.Error("want an error that says there are none")
	}
}
