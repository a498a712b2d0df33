package traceql

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Scope is where an attribute stands.
type Scope string

// The scopes. An attribute without a scope is the span's, or else its
// resource's.
const (
	ScopeNone            Scope = ""
	ScopeSpan            Scope = "span"
	ScopeResource        Scope = "resource"
	ScopeEvent           Scope = "event"
	ScopeLink            Scope = "link"
	ScopeInstrumentation Scope = "instrumentation"
	// ScopeIntrinsic is what a span or its trace has beside attributes.
	ScopeIntrinsic Scope = "intrinsic"
)

// scopes are those that are written before a dot.
var scopes = []Scope{ScopeSpan, ScopeResource, ScopeEvent, ScopeLink, ScopeInstrumentation}

// Attribute names something of a span. Two that are the same are equal,
// however they were written.
type Attribute struct {
	Scope Scope
	Name  string // of ScopeIntrinsic one of the constants below
	// Parent says that it is the attribute of the span's parent; its scope is none,
	// span or resource.
	Parent bool
}

// The intrinsics, as attributes of ScopeIntrinsic have them: by the older of two
// spellings, which every Tempo knows.
const (
	Name                = "name"
	Duration            = "duration"
	Status              = "status"
	StatusMessage       = "statusMessage"
	Kind                = "kind"
	SpanID              = "span:id"
	ParentID            = "span:parentID"
	ChildCount          = "span:childCount"
	RootName            = "rootName"
	RootService         = "rootServiceName"
	TraceDuration       = "traceDuration"
	TraceID             = "trace:id"
	EventName           = "event:name"
	EventTimeSinceStart = "event:timeSinceStart"
	LinkTraceID         = "link:traceID"
	LinkSpanID          = "link:spanID"
	ScopeName           = "instrumentation:name"
	ScopeVersion        = "instrumentation:version"
)

// intrinsics are what each spelling means.
var intrinsics = map[string]string{
	"name": Name, "span:name": Name,
	"duration": Duration, "span:duration": Duration,
	"status": Status, "span:status": Status,
	"statusMessage": StatusMessage, "span:statusMessage": StatusMessage,
	"kind": Kind, "span:kind": Kind,
	"span:id":         SpanID,
	"span:parentID":   ParentID,
	"span:childCount": ChildCount,
	"rootName":        RootName, "trace:rootName": RootName,
	"rootServiceName": RootService, "trace:rootService": RootService,
	"traceDuration": TraceDuration, "trace:duration": TraceDuration,
	"trace:id":                TraceID,
	"event:name":              EventName,
	"event:timeSinceStart":    EventTimeSinceStart,
	"link:traceID":            LinkTraceID,
	"link:spanID":             LinkSpanID,
	"instrumentation:name":    ScopeName,
	"instrumentation:version": ScopeVersion,
}

// types are what the values of intrinsics are; those that aren't here are strings.
var types = map[string]ValueType{
	Duration: DurationValue, Status: StatusValue, Kind: KindValue, ChildCount: IntValue,
	TraceDuration: DurationValue, EventTimeSinceStart: DurationValue,
}

// valueType is what its values are, where that is known without looking.
func (a Attribute) valueType() (ValueType, bool) {
	if a.Scope != ScopeIntrinsic {
		return 0, false
	}
	if t, ok := types[a.Name]; ok {
		return t, true
	}
	return StringValue, true
}

// idDigits is how many hexadecimal digits its values have, which are ids; 0: they
// aren't.
func (a Attribute) idDigits() int {
	if a.Scope != ScopeIntrinsic {
		return 0
	}
	switch a.Name {
	case SpanID, ParentID, LinkSpanID:
		return 16
	case TraceID, LinkTraceID:
		return 32
	}
	return 0
}

// OnTrace says whether its value depends on other spans of the trace.
func (a Attribute) OnTrace() bool {
	if a.Parent {
		return true
	}
	if a.Scope != ScopeIntrinsic {
		return false
	}
	switch a.Name {
	case RootName, RootService, TraceDuration, ChildCount:
		return true
	}
	return false
}

// Intrinsics are the names of all intrinsics in all spellings, sorted.
func Intrinsics() []string { return slices.Sorted(maps.Keys(intrinsics)) }

// ParseAttribute reads the name of an attribute or intrinsic as queries have it:
// resource.service.name, span."a b", .foo, name, span:name. The error is a
// *ParseError.
func ParseAttribute(text string) (Attribute, error) {
	all, err := tokens(text)
	if err != nil {
		return Attribute{}, err
	}
	p := &parser{query: text, tokens: all}
	a := p.attribute("such as resource.service.name, .http.route or name")
	if t := p.peek(); t.kind != end {
		p.fail(t, "expected the end of the attribute's name, not %s; names with spaces and the like are quoted, as in span.\"a b\"", t)
	}
	if p.err != nil {
		return Attribute{}, p.err
	}
	return a, nil
}

// String is the canonical text, which parses to an equal attribute.
func (a Attribute) String() string {
	if a.Scope == ScopeIntrinsic {
		return a.Name
	}
	prefix := string(a.Scope) + "."
	quoted := !isPlain(a.Name)
	switch {
	case a.Parent && a.Scope == ScopeNone:
		prefix = "parent."
		quoted = quoted || strings.HasPrefix(a.Name, "span.") || strings.HasPrefix(a.Name, "resource.")
	case a.Parent:
		prefix = "parent." + prefix
	case a.Scope == ScopeNone:
		quoted = quoted || a.Name[0] >= '0' && a.Name[0] <= '9'
	}
	if quoted {
		return prefix + `"` + nameEscapes.Replace(a.Name) + `"`
	}
	return prefix + a.Name
}

var nameEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// isPlain says whether a name needn't be quoted.
func isPlain(name string) bool {
	return name != "" && run(name, isAttributeRune) == len(name)
}

func isAttributeRune(r rune) bool {
	return !unicode.IsSpace(r) && !strings.ContainsRune("{}()=~!<>&|^,\"`", r)
}
