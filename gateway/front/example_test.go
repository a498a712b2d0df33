package front_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// An expression without a selector touches no data and is answered at once;
// one with a selector goes to the gateway.
func Example() {
	answerer := &pipeline{store: store(), completeness: federation.Completeness{
		{Org: "acme", Status: federation.Complete},
		{Org: "globex", Status: federation.Timeout, Reason: "no answer in time"},
	}}
	door, err := front.New(front.Config{
		Org:           "acme",
		Answerer:      answerer,
		Authenticator: everybody{},
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/api/v1/query?query=1%2B1&time=4", "/api/v1/query?query=count(up)&time=300"} {
		w := httptest.NewRecorder()
		door.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Body)
	}
	// Output:
	// {"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}
	// {"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[300,"6"]}]},"warnings":["This answer is incomplete: globex is timeout (no answer in time)."]}
}
