// Package logs is the logs signal.
//
// Raw data and released data are different types, as in package metrics. A
// Source yields raw entries, through methods that only this package can call:
//
//	store := logs.NewStore(logs.StoreConfig{})          // in memory
//	kept, err := logs.OpenStore(dir, logs.StoreConfig{}) // and on disk
//	loki, err := logs.NewLoki(logs.LokiConfig{URL: url}) // a real Loki
package logs
