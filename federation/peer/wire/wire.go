// Package wire is how questions and answers look between two gateways: the one
// place that turns them into messages of parley.federation.v1 and back. Both
// doors use it, so that what one writes is what the other reads.
//
// The asker writes a question and reads the answer, message by message:
//
//	request, err := wire.EncodeAsk(ask)
//	receiver, err := wire.NewReceiver("globex", ask.Question, wire.Limits{})
//	for each message { err := receiver.Add(message) }
//	released, part, err := receiver.Finish()
//
// The owner does the reverse with DecodeAsk and EncodeAnswer.
//
// Nothing that arrives is trusted. Reading bounds what it allocates by what
// was sent, checks all that later code relies on, and refuses what it doesn't
// know. Its errors say which check failed and quote no data.
package wire

import (
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-gateway/parley/federation"
)

const (
	// MaxRequest is the size of the largest request message, in bytes.
	MaxRequest = 256 << 10
	// MaxAnswerMessage is the size of the largest message of an answer, in
	// bytes. A sender aims at batchSize and exceeds it only for a single chunk.
	MaxAnswerMessage = 2 << 20

	batchSize = 512 << 10
	maxChunk  = 1 << 20

	maxExpression = 64 << 10 // bytes; of all selectors together as well
	maxSelectors  = 100
	maxLabel      = 1 << 10
	maxSubject    = 256
	maxText       = 1 << 10 // bytes of a reason, a notice or a failure's message
	maxNotices    = 100

	// maxIntervals between the points of a range query, as Prometheus has it.
	maxIntervals = 11_000
	maxLookback  = 31 * 24 * time.Hour
)

func validMilliseconds(ms int64) bool {
	return ms >= federation.Earliest.UnixMilli() && ms <= federation.Latest.UnixMilli()
}

// plain says whether s is text of at most size bytes that can be shown in one
// line: valid UTF-8 of printable characters and spaces.
func plain(s string, size int) bool {
	if len(s) > size || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
