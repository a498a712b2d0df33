package line_test

import (
	"fmt"

	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/policy"
)

func ExampleRedactor() {
	r, err := line.New(policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{
		{JSON: &policy.Fields{Named: map[string]policy.LabelRule{"message": {Mode: policy.Keep}, "user_id": {Mode: policy.Pseudonym}}}},
		{Masks: []policy.Mask{{Name: "email"}}},
	}}, func(string) string { return "p-k3v" })
	if err != nil {
		fmt.Println(err)
		return
	}
	var fired line.Fired
	fmt.Println(r.Redact(`{"level": "info", "message": "paid by ada@example.com", "user_id": "u-17"}`, &fired))
	fmt.Println(r.Redact(`{"message": "cut`, &fired) == "")
	for _, c := range fired.Counts() {
		fmt.Println(c.Times, c.Rule)
	}
	// Output:
	// {"message":"paid by <email>","user_id":"p-k3v"}
	// true
	// 1 json drop *
	// 1 json pseudonym user_id
	// 1 mask email
	// 1 unparsable
}
