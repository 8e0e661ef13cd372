package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Difference is one place where JSON is not as expected. What is absent is nil, which is not the same as null.
type Difference struct {
	Path     string          `json:"path"` // a JSON pointer
	Expected json.RawMessage `json:"expected,omitempty"`
	Got      json.RawMessage `json:"got,omitempty"`
}

func (d Difference) String() string {
	path := d.Path
	if path == "" {
		path = "all of it"
	}
	return fmt.Sprintf("%s: expected %s, got %s", path, shown(d.Expected), shown(d.Got))
}

func shown(value json.RawMessage) string {
	if value == nil {
		return "nothing"
	}
	return string(value)
}

// compare finds where got differs, each place as deep as it goes.
func compare(expected, got []byte) ([]Difference, error) {
	a, err := tree(expected)
	if err != nil {
		return nil, fmt.Errorf("expected: %w", err)
	}
	b, err := tree(got)
	if err != nil {
		return nil, fmt.Errorf("got: %w", err)
	}
	return differences(nil, "", a, b), nil
}

// tree decodes JSON and keeps numbers as they are written.
func tree(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}

func differences(all []Difference, path string, expected, got any) []Difference {
	switch e := expected.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		names := slices.Concat(slices.Collect(maps.Keys(e)), slices.Collect(maps.Keys(g)))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			at := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
			ev, expectedHere := e[name]
			gv, gotHere := g[name]
			all = here(all, at, ev, gv, expectedHere, gotHere)
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok {
			break
		}
		for i := range max(len(e), len(g)) {
			var ev, gv any
			if i < len(e) {
				ev = e[i]
			}
			if i < len(g) {
				gv = g[i]
			}
			all = here(all, path+"/"+strconv.Itoa(i), ev, gv, i < len(e), i < len(g))
		}
		return all
	case json.Number:
		if g, ok := got.(json.Number); ok && sameNumber(string(e), string(g)) {
			return all
		}
	default: // a string, a bool or null
		if e == got {
			return all
		}
	}
	return append(all, Difference{path, encode(expected), encode(got)})
}

// here compares what stands at one place, where either side may have nothing.
func here(all []Difference, path string, expected, got any, expectedHere, gotHere bool) []Difference {
	switch {
	case !expectedHere:
		return append(all, Difference{Path: path, Got: encode(got)})
	case !gotHere:
		return append(all, Difference{Path: path, Expected: encode(expected)})
	}
	return differences(all, path, expected, got)
}

// encode writes what tree has read.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// sameNumber compares exactly, whatever the size: 1, 1.0 and 10e-1 are one number.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	da, ea, oka := decimal(a)
	db, eb, okb := decimal(b)
	return oka && okb && da == db && ea == eb
}

// decimal is a number's digits, with its sign and without zeros at either end, and the exponent of the last one.
func decimal(n string) (digits string, exponent int, ok bool) {
	n, negative := strings.CutPrefix(n, "-")
	if i := strings.IndexAny(n, "eE"); i >= 0 {
		e, err := strconv.Atoi(n[i+1:])
		if err != nil {
			return "", 0, false
		}
		n, exponent = n[:i], e
	}
	whole, fraction, _ := strings.Cut(n, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	if trimmed == "" {
		return "", 0, true
	}
	if negative {
		trimmed = "-" + trimmed
	}
	return trimmed, exponent, true
}
