package traces

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"
)

// Decode reads OTLP's TracesData, or what has the same bytes. Values that are
// nested too deep are an error: reading them takes as much of the stack as their
// sender likes.
func Decode(text []byte) (ptrace.Traces, error) {
	if err := checkNesting(text, wireTraces, MaxNesting); err != nil {
		return ptrace.Traces{}, err
	}
	var u ptrace.ProtoUnmarshaler
	spans, err := u.UnmarshalTraces(text)
	if err != nil { // its text may quote what it read
		return ptrace.Traces{}, errNotOTLP
	}
	return spans, nil
}

// DecodeJSON reads the same as JSON.
func DecodeJSON(text []byte) (ptrace.Traces, error) {
	// It ends where JSON nests too deep, which the one of OTLP doesn't.
	if !json.Valid(text) {
		return ptrace.Traces{}, errors.New("spans that aren't JSON")
	}
	var u ptrace.JSONUnmarshaler
	spans, err := u.UnmarshalTraces(text)
	if err != nil {
		return ptrace.Traces{}, errNotOTLP
	}
	return spans, nil
}

var errNotOTLP = errors.New("spans that aren't the OTLP that they should be")

// wireMessage is a message of OTLP, as far as one has to be known to find values
// of attributes in it.
type wireMessage struct {
	fields map[protowire.Number]*wireMessage
	nests  bool // it is a value that holds values
}

// wireTraces is TracesData of opentelemetry/proto/trace/v1/trace.proto.
var wireTraces = func() *wireMessage {
	type fields = map[protowire.Number]*wireMessage
	value := &wireMessage{}
	attribute := &wireMessage{fields: fields{2: value}}
	value.fields = fields{
		5: {fields: fields{1: value}, nests: true},
		6: {fields: fields{1: attribute}, nests: true},
	}
	event := &wireMessage{fields: fields{3: attribute}}
	link := &wireMessage{fields: fields{4: attribute}}
	span := &wireMessage{fields: fields{9: attribute, 11: event, 13: link}}
	scope := &wireMessage{fields: fields{3: attribute}}
	resource := &wireMessage{fields: fields{1: attribute}}
	ofScope := &wireMessage{fields: fields{1: scope, 2: span}}
	ofResource := &wireMessage{fields: fields{1: resource, 2: ofScope, 1000: ofScope}} // 1000 is what it was before version 0.15
	return &wireMessage{fields: fields{1: ofResource}}
}()

// checkNesting refuses values that are nested deeper than is left, without
// reading them.
func checkNesting(text []byte, m *wireMessage, left int) error {
	if m.nests {
		left--
	}
	if left < 0 {
		return fmt.Errorf("attributes nested deeper than %d", MaxNesting)
	}
	for len(text) > 0 {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 {
			return errNotOTLP
		}
		text = text[n:]
		length := protowire.ConsumeFieldValue(number, kind, text)
		if length < 0 {
			return errNotOTLP
		}
		if below := m.fields[number]; below != nil && kind == protowire.BytesType {
			inside, _ := protowire.ConsumeBytes(text) // it is one
			if err := checkNesting(inside, below, left); err != nil {
				return err
			}
		}
		text = text[length:]
	}
	return nil
}
