package front

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/parley-gateway/parley/federation/traces"
)

// What the doors for traces have in common, Tempo's and Jaeger's.

// defaultTracesSpan is how far back is looked where a request says nothing.
const defaultTracesSpan = time.Hour

// askTraces puts one question about traces to the gateway.
func (s *session) askTraces(ctx context.Context, q traces.Question) (*traces.Released, error) {
	released, err := s.put(ctx, q)
	if err != nil {
		return nil, err
	}
	answer, ok := released.(*traces.Released)
	if !ok {
		return nil, s.fail(fmt.Errorf("an answer of type %T to a question about traces", released))
	}
	return answer, nil
}

// checkTraceQL refuses what would take too long to read; what is wrong with the
// rest the parser says.
func checkTraceQL(value string) error {
	if len(value) > maxExpressionBytes {
		return fmt.Errorf("the expression is longer than the %d bytes accepted", maxExpressionBytes)
	}
	return nil
}

// unixSeconds reads a time in seconds since 1970.
func unixSeconds(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(time.Second) {
		return time.Time{}, fmt.Errorf("%q is not a time in seconds since 1970", text)
	}
	return time.Unix(n, 0).UTC(), nil
}
