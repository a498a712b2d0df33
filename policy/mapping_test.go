package policy

import (
	"regexp"
	"strings"
	"testing"
)

func TestMapping(t *testing.T) {
	class := &Mapping{Regexp: regexp.MustCompile("^(?s:([1-5])..)$"), Replacement: "${1}xx", Else: "other"}
	network := &Mapping{Prefix: 3}
	size := &Mapping{Buckets: []float64{-1, 0.5, 10}, Else: "none"}
	for _, test := range []struct {
		mapping     *Mapping
		value, want string
	}{
		{class, "404", "4xx"},
		{class, "4040", "other"},
		{class, "teapot", "other"},
		{class, "", ""},
		{network, "10.0.0.1", "10."},
		{network, "ab", "ab"},
		{network, "üöäß", "üöä"},
		{network, "\xff\xfe\xfd\xfc", "\xff\xfe\xfd"},
		{network, "", ""},
		{size, "-7", "<=-1"},
		{size, "-1", "<=-1"},
		{size, "0", "<=0.5"},
		{size, "10", "<=10"},
		{size, "1e3", ">10"},
		{size, "+Inf", ">10"},
		{size, "NaN", "none"},
		{size, "ten", "none"},
		{size, "", ""},
		{&Mapping{}, "anything", ""},
	} {
		if got := test.mapping.Apply(test.value); got != test.want {
			t.Errorf("%+v of %q: %q, want %q", test.mapping, test.value, got, test.want)
		}
	}
	for _, class := range size.Classes() {
		if value := strings.TrimPrefix(class, "<="); value != class && size.Apply(value) != class {
			t.Errorf("%s is %s, want %s", value, size.Apply(value), class)
		}
	}
	if classes := size.Classes(); len(classes) != 4 || classes[3] != size.Apply("11") {
		t.Errorf("the classes of %+v are %q", size, classes)
	}
}
