package logql

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/dustin/go-humanize"

	"github.com/parley-gateway/parley/federation/repetition"
)

// functions are those of templates. Some are of the entry.
type functions struct {
	line    string
	at      int64 // Unix nanoseconds
	steps   int   // of loops so far
	work    int   // bytes that functions read and made so far
	regexps map[string]*regexp.Regexp
}

// ofSprig are the functions that are sprig's.
var ofSprig = []string{
	"lower", "upper", "title", "trunc", "substr", "contains", "hasPrefix", "hasSuffix", "trim", "trimAll", "trimSuffix", "trimPrefix",
	"int", "float64", "add", "sub", "mul", "div", "mod", "addf", "subf", "mulf", "divf", "max", "min", "maxf", "minf", "ceil", "floor", "round",
	"fromJson", "date", "toDate", "now", "unixEpoch", "default", "b64enc", "b64dec",
}

// maxRegexps bounds the regular expressions that a template remembers: they
// may be of lines.
const maxRegexps = 100

func (f *functions) funcs() template.FuncMap {
	all := template.FuncMap{
		"__line__":      func() string { return f.line },
		"__timestamp__": func() time.Time { return time.Unix(0, f.at).UTC() },

		"ToLower":    strings.ToLower,
		"ToUpper":    strings.ToUpper,
		"Trim":       strings.Trim,
		"TrimLeft":   strings.TrimLeft,
		"TrimRight":  strings.TrimRight,
		"TrimPrefix": strings.TrimPrefix,
		"TrimSuffix": strings.TrimSuffix,
		"TrimSpace":  strings.TrimSpace,

		"Replace":                replaced,
		"replace":                func(old, by, s string) (string, error) { return replaced(s, old, by, -1) },
		"repeat":                 repeated,
		"indent":                 indented,
		"nindent":                func(n int, s string) (string, error) { s, err := indented(n, s); return "\n" + s, err },
		"alignLeft":              func(n int, s string) (string, error) { return aligned(n, s, false) },
		"alignRight":             func(n int, s string) (string, error) { return aligned(n, s, true) },
		"regexReplaceAll":        func(re, s, with string) (string, error) { return f.regexReplaced(re, s, with, false) },
		"regexReplaceAllLiteral": func(re, s, with string) (string, error) { return f.regexReplaced(re, s, with, true) },
		"count":                  f.count,

		"urlencode": func(s string) (string, error) { return within(url.QueryEscape(s)) },
		"urldecode": url.QueryUnescape,

		"bytes":            func(s string) (float64, error) { n, err := humanize.ParseBytes(s); return float64(n), err },
		"duration":         seconds,
		"duration_seconds": seconds,

		"unixEpochMillis": func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) },
		"unixEpochNanos":  func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) },
		"toDateInZone":    dateInZone,
		"unixToTime":      unixToTime,

		"print":    func(args ...any) (string, error) { return printed(args, fmt.Sprint) },
		"println":  func(args ...any) (string, error) { return printed(args, fmt.Sprintln) },
		"html":     func(args ...any) (string, error) { return printed(args, template.HTMLEscaper) },
		"js":       func(args ...any) (string, error) { return printed(args, template.JSEscaper) },
		"urlquery": func(args ...any) (string, error) { return printed(args, template.URLQueryEscaper) },
		"printf":   formatted,
	}
	sprigs := sprig.GenericFuncMap()
	for _, name := range ofSprig {
		all[name] = sprigs[name]
	}
	for name, function := range all {
		all[name] = f.counted(function)
	}
	all[boundedLoop] = f.bounded
	return all
}

// counted is a function that counts the text that it is given and makes.
func (f *functions) counted(function any) any {
	called := reflect.ValueOf(function)
	of := called.Type()
	var in []reflect.Type
	for i := range of.NumIn() {
		in = append(in, of.In(i))
	}
	failure := reflect.TypeFor[error]()
	does := func(args []reflect.Value) []reflect.Value {
		for _, a := range args {
			f.work += textIn(a)
		}
		if f.work > maxTemplateWork {
			return []reflect.Value{reflect.Zero(of.Out(0)), reflect.ValueOf(&errTemplateWork).Elem()}
		}
		call := called.Call
		if of.IsVariadic() {
			call = called.CallSlice
		}
		out := call(args)
		f.work += textIn(out[0])
		if len(out) == 1 {
			out = append(out, reflect.Zero(failure))
		}
		return out
	}
	return reflect.MakeFunc(reflect.FuncOf(in, []reflect.Type{of.Out(0), failure}, of.IsVariadic()), does).Interface()
}

// textIn is how many bytes of text a value of a template has, and at least one.
func textIn(v reflect.Value) int {
	switch v.Kind() {
	case reflect.Interface:
		return textIn(v.Elem())
	case reflect.String:
		return 1 + v.Len()
	case reflect.Slice:
		n := 1
		for i := range v.Len() {
			n += textIn(v.Index(i))
		}
		return n
	default:
		return 1
	}
}

// within is s if it isn't too long.
func within(s string) (string, error) {
	if len(s) > maxTemplateText {
		return "", errTemplateText
	}
	return s, nil
}

func replaced(s, old, by string, n int) (string, error) {
	if strings.Count(s, old)*len(by) > maxTemplateText {
		return "", errTemplateText
	}
	return within(strings.Replace(s, old, by, n))
}

func repeated(n int, s string) (string, error) {
	switch {
	case n < 0:
		return "", fmt.Errorf("can't repeat %d times", n)
	case n > maxTemplateText, n*len(s) > maxTemplateText:
		return "", errTemplateText
	}
	return strings.Repeat(s, n), nil
}

func indented(n int, s string) (string, error) {
	pad, err := repeated(n, " ")
	if err != nil {
		return "", err
	}
	s, err = replaced(s, "\n", "\n"+pad, -1)
	return pad + s, err
}

// aligned is s of n characters: cut, or with spaces.
func aligned(n int, s string, right bool) (string, error) {
	runes := []rune(s)
	if n < 0 || len(runes) == n {
		return s, nil
	}
	if len(runes) > n {
		if right {
			return string(runes[len(runes)-n:]), nil
		}
		return string(runes[:n]), nil
	}
	pad, err := repeated(n-len(runes), " ")
	if right {
		return pad + s, err
	}
	return s + pad, err
}

func (f *functions) compiled(text string) (*regexp.Regexp, error) {
	if re, ok := f.regexps[text]; ok {
		return re, nil
	}
	if repetition.Added(text) > maxRepetitions {
		return nil, fmt.Errorf("the regular expression repeats too much")
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	if f.regexps == nil || len(f.regexps) >= maxRegexps {
		f.regexps = map[string]*regexp.Regexp{}
	}
	f.regexps[text] = re
	return re, nil
}

func (f *functions) regexReplaced(text, s, with string, literal bool) (string, error) {
	re, err := f.compiled(text)
	if err != nil {
		return "", err
	}
	found := len(re.FindAllStringIndex(s, -1))
	if found*len(with)+strings.Count(with, "$")*len(s) > maxTemplateText {
		return "", errTemplateText
	}
	if literal {
		return within(re.ReplaceAllLiteralString(s, with))
	}
	return within(re.ReplaceAllString(s, with))
}

func (f *functions) count(text, s string) (int, error) {
	re, err := f.compiled(text)
	if err != nil {
		return 0, err
	}
	return len(re.FindAllStringIndex(s, -1)), nil
}

func seconds(s string) (float64, error) {
	d, err := time.ParseDuration(s)
	return d.Seconds(), err
}

func dateInZone(layout, zone, s string) time.Time {
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	t, _ := time.ParseInLocation(layout, s, location)
	return t
}

// unixToTime reads days, seconds, milliseconds, microseconds or nanoseconds
// since 1970, told apart by how many digits there are.
func unixToTime(epoch string) (time.Time, error) {
	n, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time since 1970", epoch)
	}
	switch len(epoch) {
	case 5:
		return time.Unix(n*86400, 0), nil
	case 10:
		return time.Unix(n, 0), nil
	case 13:
		return time.UnixMilli(n), nil
	case 16:
		return time.UnixMicro(n), nil
	case 19:
		return time.Unix(0, n), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time since 1970", epoch)
}

// printed are arguments as one of text/template's functions prints them.
func printed(args []any, write func(...any) string) (string, error) {
	total := 0
	for _, a := range args {
		if total += sizeOf(a); total > maxTemplateText {
			return "", errTemplateText
		}
	}
	return within(write(args...))
}

func sizeOf(v any) int {
	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return 32
	case string:
		return len(v)
	default:
		return len(fmt.Sprint(v))
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// formatted is printf, for widths that are not out of bounds.
func formatted(format string, args ...any) (string, error) {
	const maxWidth = 10_000
	for _, d := range digits.FindAllString(format, -1) {
		if n, err := strconv.Atoi(d); err != nil || n > maxWidth {
			return "", errTemplateText
		}
	}
	longest := 0
	for _, a := range args {
		longest = max(longest, sizeOf(a))
		r := reflect.ValueOf(a)
		if strings.Contains(format, "*") && r.CanInt() && (r.Int() > maxWidth || r.Int() < -maxWidth) {
			return "", errTemplateText
		}
	}
	if verbs := strings.Count(format, "%"); verbs*longest > maxTemplateText || verbs*maxWidth > maxTemplateText && len(format) > maxWidth {
		return "", errTemplateText
	}
	return within(fmt.Sprintf(format, args...))
}
