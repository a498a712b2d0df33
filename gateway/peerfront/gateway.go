package peerfront

import (
	"context"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
)

// Gateway is the pipeline behind the door. *gateway.Gateway is one by Of.
type Gateway interface {
	// Answer takes a question through the whole pipeline. When it returns an
	// error the exchange is recorded already.
	Answer(context.Context, gateway.Question) (Answer, error)
	// Tail takes a tail through the whole pipeline, part by part; see
	// gateway.Gateway.Tail. When it returns, the end of it is recorded.
	Tail(context.Context, gateway.Question, gateway.TailDoor) error
	// Refuse records a question that didn't get as far as Answer, with what is
	// known of it, and returns what the asker is told: err, or that the refusal
	// couldn't be recorded.
	Refuse(ctx context.Context, q gateway.Question, err error) error
}

// Answer is an answer that has not left yet.
type Answer interface {
	// Disclose records the exchange durably. encode is called before that and
	// returns the size of what will leave, in bytes. After an error nothing may
	// leave.
	Disclose(ctx context.Context, encode func(federation.Released, federation.Completeness) (bytes int, err error)) error
	// Close ends the question, when the answer has left or can't.
	Close()
}

// pipeline is what *gateway.Gateway has.
type pipeline interface {
	Answer(context.Context, gateway.Question) (*gateway.Answer, error)
	Tail(context.Context, gateway.Question, gateway.TailDoor) error
	Refuse(ctx context.Context, q gateway.Question, err error) error
}

// Of returns g as the door's Gateway.
func Of(g pipeline) Gateway { return adapter{g} }

type adapter struct{ pipeline }

func (a adapter) Answer(ctx context.Context, q gateway.Question) (Answer, error) {
	answer, err := a.pipeline.Answer(ctx, q)
	if err != nil {
		return nil, err
	}
	return answer, nil
}
