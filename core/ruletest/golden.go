package ruletest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkGolden compares what all rules of the source give with what a file says, or takes it as the file's new content.
// The file is one object: for each rule its records, or in their place {"error": "..."} or {"waits": "..."}.
func (x *run) checkGolden(e *expectation) {
	got, err := x.everything()
	if err != nil {
		x.fail(Failure{Summary: err.Error()}, e.at)
		return
	}
	if x.golden != nil {
		x.golden[e.golden] = got
		return
	}
	f := Failure{Summary: fmt.Sprintf("the records differ from those in %s; if they are right, run again with --update", e.golden)}
	want, err := os.ReadFile(e.golden)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Summary = fmt.Sprintf("there is no %s: run again with --update to write it, and read it", e.golden)
	case err != nil:
		f.Summary = err.Error()
	default:
		if f.Differences, err = compare(want, got); err != nil {
			f.Summary = fmt.Sprintf("%s is not as --update writes it: %v", e.golden, err)
		} else if len(f.Differences) == 0 {
			return
		}
	}
	x.fail(f, e.at)
}

// everything is what a golden file holds.
func (x *run) everything() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, r := range x.suite.rules {
		if r.Source != x.test.source.Name {
			continue
		}
		res := x.look(r.Name)
		if res.unasked != "" {
			return nil, fmt.Errorf("rule %q reads lookup.%s, of which the test gives no answer: add lookup %q { ... }", r.Name, res.unasked, res.unasked)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(encode(r.Name))
		b.WriteByte(':')
		switch {
		case res.err != nil:
			b.Write(encode(map[string]string{"error": withoutPlace(res.err)}))
		case res.waits != nil:
			b.Write(encode(map[string]string{"waits": res.waits.Error()}))
		default:
			b.Write(list(res.records))
		}
	}
	b.WriteByte('}')
	var indented bytes.Buffer
	if err := json.Indent(&indented, b.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("write records: %w", err)
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}
