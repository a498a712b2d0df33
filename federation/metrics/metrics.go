// Package metrics is the metrics signal: what an owner's view of its store
// holds, how a question is evaluated over it, and how the answers of several
// organizations become one.
//
// Raw data and released data are different types. A Source yields raw data,
// through methods only this package can call; a Local puts a view on top and
// yields Released; everything else accepts only Released:
//
//	local := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: source, Secret: secret})
//	released, part, err := local.Answer(ctx, question, decision, asker)
package metrics
