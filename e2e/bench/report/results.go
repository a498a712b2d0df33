package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// results are what benchmarks measured, in Go's benchmark format
// (https://go.dev/design/14313-benchmark-format).
type results struct {
	machine map[string]string               // goos, goarch, cpu
	cores   string                          // how many the benchmarks might use
	values  map[string]map[string][]float64 // by benchmark and unit, a value for each run
}

func parse(output []byte) (*results, error) {
	r := &results{machine: map[string]string{}, values: map[string]map[string][]float64{}}
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		line := lines.Text()
		if key, value, ok := strings.Cut(line, ": "); ok && !strings.Contains(key, " ") {
			r.machine[key] = value
		}
		if strings.HasPrefix(line, "Benchmark") {
			if err := r.add(strings.Fields(line)); err != nil {
				return nil, fmt.Errorf("%w in %q", err, line)
			}
		}
	}
	if len(r.values) == 0 {
		return nil, errors.New("no benchmark was measured")
	}
	return r, lines.Err()
}

// add takes the fields of a line: the name, how often it ran, and then values
// each with a unit. A line with the name alone says that it begins.
func (r *results) add(fields []string) error {
	if len(fields) < 2 {
		return nil
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		name, r.cores = name[:i], name[i+1:]
	}
	if r.values[name] == nil {
		r.values[name] = map[string][]float64{}
	}
	for pair := range slices.Chunk(fields[2:], 2) {
		if len(pair) < 2 {
			return errors.New("a value without a unit")
		}
		value, err := strconv.ParseFloat(pair[0], 64)
		if err != nil {
			return err
		}
		r.values[name][pair[1]] = append(r.values[name][pair[1]], value)
	}
	return nil
}

// median is that of a benchmark's runs; ok is false when there were none.
func (r *results) median(benchmark, unit string) (value float64, ok bool) {
	sorted := slices.Sorted(slices.Values(r.values[benchmark][unit]))
	if len(sorted) == 0 {
		return 0, false
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2, true
}

// runs is how often the benchmarks ran.
func (r *results) runs() int {
	most := 0
	for _, units := range r.values {
		most = max(most, len(units["ns/op"]))
	}
	return most
}
