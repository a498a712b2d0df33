package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation/traces"
)

// The bytes of a partner's OTLP are looked at before anything is made of them:
// a span of two bytes becomes hundreds of them in memory, and what OTLP's own
// reader doesn't know it passes over.

// otlpField is a field of a message of OTLP.
type otlpField struct {
	typ  protowire.Type
	text bool         // a string, which has to be UTF-8
	of   *otlpMessage // a message
}

// otlpMessage is what is known of a message: its fields, and how many bytes it
// takes in memory beside their content, about.
type otlpMessage struct {
	fields map[protowire.Number]otlpField
	size   int
}

// The messages of opentelemetry/proto/trace/v1/trace.proto and what they hold.
var (
	otlpAnyValue = &otlpMessage{size: 64} // which holds itself: its fields are anyValue
	otlpKeyValue = &otlpMessage{size: 80, fields: map[protowire.Number]otlpField{1: otlpText, 2: {protowire.BytesType, false, otlpAnyValue}}}
	otlpValues   = &otlpMessage{size: 32, fields: map[protowire.Number]otlpField{1: {protowire.BytesType, false, otlpAnyValue}}}
	otlpMap      = &otlpMessage{size: 32, fields: map[protowire.Number]otlpField{1: otlpAttributes}}
	otlpResource = &otlpMessage{size: 64, fields: map[protowire.Number]otlpField{1: otlpAttributes, 2: otlpNumber}}
	otlpScope    = &otlpMessage{size: 96, fields: map[protowire.Number]otlpField{1: otlpText, 2: otlpText, 3: otlpAttributes, 4: otlpNumber}}
	otlpEvent    = &otlpMessage{size: 96, fields: map[protowire.Number]otlpField{1: otlpTime, 2: otlpText, 3: otlpAttributes, 4: otlpNumber}}
	otlpLink     = &otlpMessage{size: 112, fields: map[protowire.Number]otlpField{1: otlpBytes, 2: otlpBytes, 3: otlpText, 4: otlpAttributes, 5: otlpNumber, 6: otlpFlags}}
	otlpStatus   = &otlpMessage{size: 0, fields: map[protowire.Number]otlpField{2: otlpText, 3: otlpNumber}}
	otlpSpan     = &otlpMessage{size: 320, fields: map[protowire.Number]otlpField{
		1: otlpBytes, 2: otlpBytes, 3: otlpText, 4: otlpBytes, 5: otlpText, 6: otlpNumber, 7: otlpTime, 8: otlpTime,
		9: otlpAttributes, 10: otlpNumber, 11: {protowire.BytesType, false, otlpEvent}, 12: otlpNumber,
		13: {protowire.BytesType, false, otlpLink}, 14: otlpNumber, 15: {protowire.BytesType, false, otlpStatus}, 16: otlpFlags,
	}}
	otlpScopeSpans = &otlpMessage{size: 128, fields: map[protowire.Number]otlpField{
		1: {protowire.BytesType, false, otlpScope}, 2: {protowire.BytesType, false, otlpSpan}, 3: otlpText,
	}}
	otlpResourceSpans = &otlpMessage{size: 128, fields: map[protowire.Number]otlpField{
		1: {protowire.BytesType, false, otlpResource}, 2: {protowire.BytesType, false, otlpScopeSpans}, 3: otlpText,
	}}
	otlpTracesData = &otlpMessage{fields: map[protowire.Number]otlpField{1: {protowire.BytesType, false, otlpResourceSpans}}}
)

var (
	otlpText       = otlpField{protowire.BytesType, true, nil}
	otlpBytes      = otlpField{protowire.BytesType, false, nil}
	otlpNumber     = otlpField{protowire.VarintType, false, nil}
	otlpTime       = otlpField{protowire.Fixed64Type, false, nil}
	otlpFlags      = otlpField{protowire.Fixed32Type, false, nil}
	otlpAttributes = otlpField{protowire.BytesType, false, otlpKeyValue}
)

// anyValue are the fields of otlpAnyValue.
var anyValue = map[protowire.Number]otlpField{
	1: otlpText, 2: otlpNumber, 3: otlpNumber, 4: otlpTime, 5: {protowire.BytesType, false, otlpValues}, 6: {protowire.BytesType, false, otlpMap}, 7: otlpBytes,
}

// maxOTLPDepth is how deep messages may be in one another. The value of an attribute
// of an event is at 6, and what is in it three deeper each time. A view has values
// as deep as a store does: were it less, one such span would be the end of every
// answer that it is in.
const maxOTLPDepth = 6 + 3*traces.MaxNesting

var errOTLP = errors.New("spans that can't be read")

// checkOTLP checks that there is nothing in a message but what is known, and
// calls charge with what its parts take in memory.
func checkOTLP(data []byte, is *otlpMessage, depth int, charge func(int) error) error {
	if depth > maxOTLPDepth {
		return errors.New("attributes that are too deep")
	}
	fields := is.fields
	if is == otlpAnyValue {
		fields = anyValue
	}
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errOTLP
		}
		field, known := fields[number]
		if !known || field.typ != typ {
			return errUnknown
		}
		data = data[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, typ, data); n < 0 {
				return errOTLP
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return errOTLP
		}
		data = data[n:]
		if field.text && !utf8.Valid(value) {
			return errors.New("text that isn't UTF-8")
		}
		if field.of == nil {
			continue
		}
		if err := charge(field.of.size); err != nil {
			return err
		}
		if err := checkOTLP(value, field.of, depth+1, charge); err != nil {
			return err
		}
	}
	return nil
}
