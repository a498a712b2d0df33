package wire

import (
	"errors"
	"slices"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// hashBytes are those of the hash of a value.
const hashBytes = 8

func fieldMessages(fields []logs.Field) []*federationv1.AskResponse {
	var out []*federationv1.AskResponse
	batch, size := &federationv1.FieldBatch{}, 0
	flush := func() {
		if len(batch.Fields) > 0 {
			out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Fields{Fields: batch}})
		}
		batch, size = &federationv1.FieldBatch{}, 0
	}
	for _, f := range fields {
		if size >= batchSize {
			flush()
		}
		m := &federationv1.Field{Name: f.Name, Type: string(f.Type), Path: f.Path, Values: f.Values}
		for _, p := range f.Parsers {
			m.Parsers = append(m.Parsers, string(p))
		}
		batch.Fields = append(batch.Fields, m)
		size += fieldSize(m)
	}
	flush()
	return out
}

// fieldSize is about what a field takes.
func fieldSize(f *federationv1.Field) int {
	size := entryOverhead + len(f.GetName()) + len(f.GetValues())*hashBytes
	for _, step := range f.GetPath() {
		size += len(step)
	}
	return size
}

// addFields takes labels or fields of lines.
func (r *Receiver) addFields(b *federationv1.FieldBatch) error {
	switch {
	case hasUnknown(b):
		return errUnknown
	case !r.asks(policy.DetectedLabels, policy.DetectedFields) || r.mostValues == 0:
		return errUnasked
	}
	for _, m := range b.GetFields() {
		if hasUnknown(m) {
			return errUnknown
		}
		f := logs.Field{Name: m.GetName(), Type: logs.FieldType(m.GetType()), Path: m.GetPath(), Values: m.GetValues()}
		for _, p := range m.GetParsers() {
			f.Parsers = append(f.Parsers, logs.Parser(p))
		}
		if last := len(r.fields) - 1; f.Name == "" || last >= 0 && r.fields[last].Name >= f.Name {
			return errOrder
		}
		if err := r.checkField(f); err != nil {
			return err
		}
		if err := r.count(fieldSize(m)); err != nil {
			return err
		}
		r.fields = append(r.fields, f)
	}
	return nil
}

func (r *Receiver) checkField(f logs.Field) error {
	known := func(p logs.Parser) bool { return slices.Contains(logs.Parsers, p) }
	switch {
	case !slices.Contains(logs.FieldTypes, f.Type):
		return errors.New("a field of an unknown type")
	case len(f.Parsers) > len(logs.Parsers) || slices.ContainsFunc(f.Parsers, func(p logs.Parser) bool { return !known(p) }):
		return errors.New("a field found by an unknown parser")
	case len(f.Path) > maxPath:
		return errors.New("a field that is nested too deep")
	case len(f.Values) == 0 || len(f.Values) > r.mostValues:
		return errors.New("a field with more values than were looked at, or none")
	}
	for i, v := range f.Values {
		if i > 0 && f.Values[i-1] >= v {
			return errOrder
		}
	}
	return nil
}

// maxPath is how deep a field can be.
const maxPath = line.MaxDepth

// addStats takes how much there is.
func (r *Receiver) addStats(m *federationv1.LogsStats) error {
	switch {
	case hasUnknown(m):
		return errUnknown
	case !r.asks(policy.Stats) || r.stats != (logs.Stats{}):
		return errUnasked
	}
	r.stats = logs.Stats{Streams: m.GetStreams(), Entries: m.GetEntries(), Bytes: m.GetBytes()}
	return nil
}
