package traces

// What parley says of spans stands in attributes of these names, which nobody
// else's data has in an answer: raw ones that begin so are called
// exported_parley... in the view.
const (
	// attributePrefix begins the names of all of them.
	attributePrefix = "parley."
	// OrgAttribute is whose span it is: of every resource.
	OrgAttribute = "parley.org"
	// RedactionAttribute says of a span what became of it, where that isn't
	// nothing: a Redaction.
	RedactionAttribute = "parley.redaction"
	// StatusAttribute says of a span that its status isn't what was recorded, but
	// StatusWithheld.
	StatusAttribute = "parley.status"
	// FoldedAttribute is how many spans a withheld one stands for, where policy
	// tells it.
	FoldedAttribute = "parley.folded_spans"
	// PlaceholderAttribute says of a placeholder why the span it stands for isn't
	// there.
	PlaceholderAttribute = "parley.missing"
	// HoldersAttribute says of a placeholder which organizations could hold the span
	// it stands for, in order of their names.
	HoldersAttribute = "parley.missing.orgs"
	// TraceAttribute and SpanAttribute are, of a span that has another trace id or
	// span id in a stitched trace than it was recorded with, the ones it had.
	TraceAttribute = "parley.trace_id"
	SpanAttribute  = "parley.span_id"
	// CompletenessAttribute says of the root of a stitched trace which organizations
	// that were asked for it aren't in it with all they have, and why, in words; or
	// that it is complete.
	CompletenessAttribute = "parley.completeness"
	// ShiftAttribute is, of every resource of an organization whose clock was
	// reconciled, by how many nanoseconds its spans were moved; the interval of
	// what it may be is in the other two.
	// An end that isn't there has no attribute.
	ShiftAttribute    = "parley.clock.shift_ns"
	ShiftMinAttribute = "parley.clock.shift_min_ns"
	ShiftMaxAttribute = "parley.clock.shift_max_ns"
)

// Redaction is what became of a span.
type Redaction string

// The redactions.
const (
	// Attributes: names or attributes that policy doesn't release are gone.
	Attributes Redaction = "attributes"
	// Shape: only time, kind and topology are left.
	Shape Redaction = "shape"
	// Boundary: with this span the request enters or leaves the organization,
	// whose inside is withheld.
	Boundary Redaction = "boundary"
	// Withheld: it stands for spans that aren't there.
	Withheld Redaction = "withheld"
	// Placeholder: it stands for the parent of spans, which no answer has.
	Placeholder Redaction = "placeholder"
)

// StatusWithheld is the only value of StatusAttribute.
const StatusWithheld = "withheld"

// WithheldName is the name of spans whose own isn't released.
const WithheldName = "withheld"

// PlaceholderName is the name of placeholders.
const PlaceholderName = "missing"

// serviceName is the resource attribute that names a service (OpenTelemetry
// semantic conventions).
const serviceName = "service.name"
