// Package inspect looks at policies before they decide: what a folder of them
// says, to whom, and what of it is probably not meant.
//
//	folder, err := inspect.Load(ctx, inspect.Config{Dir: "policies", Agreements: agreements, Now: time.Now})
//	for _, finding := range folder.Lint(ctx) { ... }
//
// What it says comes from asking: sample questions of every partner, for every
// purpose, are decided as a gateway decides them. Selectors are compared as
// sets of series, whatever a store holds.
package inspect
