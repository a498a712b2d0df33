package wire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// hasUnknown says whether m itself, not what it holds, came with fields that
// this version doesn't know.
func hasUnknown(m proto.Message) bool {
	return len(m.ProtoReflect().GetUnknown()) > 0
}

// hasUnknownWithin says whether m or a message in it has.
func hasUnknownWithin(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknownWithin(v.List().Get(i).Message())
			}
		case field.IsMap():
			found = true // the protocol has none; one would need its own reading here
		default:
			found = hasUnknownWithin(v.Message())
		}
		return !found
	})
	return found
}
