package metrics_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// Text that takes minutes to read, printed or matched, though none of it has
// 64 KiB.
func TestTextThatIsAnAttackIsRefusedUnread(t *testing.T) {
	const size = 64 << 10
	filled := func(open, inside, closing string) string {
		n := (size - len(inside)) / (len(open) + len(closing))
		return strings.Repeat(open, n) + inside + strings.Repeat(closing, n)
	}
	for name, text := range map[string]string{
		"parentheses":        filled("(", "up", ")"),
		"functions":          filled("abs(", "up", ")"),
		"unclosed":           filled("(", "up", ""),
		"subqueries":         filled("last_over_time(", "up", "[1m:1m])"),
		"ranges of ranges":   filled("", "up", "[1m]"),
		"signs":              filled("-", "up", ""),
		"powers":             filled("1^", "1", ""),
		"sums":               filled("up+", "up", ""),
		"set operators":      filled("up or ", "up", ""),
		"one repetition":     `up{pod=~"` + filled("(a?b?){500}", "", "") + `"}`,
		"many repetitions":   "up{" + filled("pod=~`(?:a?){1000}b`,", "", "") + "}",
		"negative":           "up{" + filled("pod!~'(?:a?){900,}b',", "", "") + "}",
		"nested repetitions": `up{pod=~"` + filled("(?:(?:ab){10}){100}", "", "") + `"}`,
		"label_replace":      `label_replace(up, "a", "b", "c", "` + filled("a{1000}", "", "") + `")`,
	} {
		for _, err := range []error{
			metrics.CheckText(text),
			func() error { _, err := metrics.Question{Kind: policy.Instant, Expression: text}.Request(); return err }(),
			func() error { _, err := metrics.ParseSelector(text); return err }(),
		} {
			var e *federation.Error
			if !errors.As(err, &e) || e.Kind != federation.BadQuestion || len(e.Message) > 200 {
				t.Errorf("%s: want a short refusal, got %.300v", name, err)
			}
		}
	}
}

func TestTextThatPeopleWriteIsInBounds(t *testing.T) {
	for _, text := range []string{
		`histogram_quantile(0.9, sum by (le) (rate(latency_bucket{pod!~"api-[0-9a-f]{8,10}-[a-z0-9]{5}"}[5m])))`,
		`up{instance=~"(?:[0-9]{1,3}\\.){3}[0-9]{1,3}:[0-9]{2,5}"}`,
		`up{pod=~"` + strings.Repeat("checkout-7d9fbbd6c9-x2x5z|", 1000) + `"}`,
		`up{text="` + strings.Repeat("a{1000}", 100) + `"}`,
		strings.Repeat("up or ", 400) + "up",
		"up{", `"`, "", "sum(",
	} {
		if err := metrics.CheckText(text); err != nil {
			t.Errorf("%.80s: %v", text, err)
		}
	}
}
