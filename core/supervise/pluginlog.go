package supervise

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// maxLine is how much of what a plugin prints is logged as one line, in bytes.
const maxLine = 64 << 10

// pluginLog puts what a plugin prints into the host's log: hclog's own lines at their level, and
// everything else, which nobody planned, as a warning; a Go panic with its stack is an error. What
// looks like an e-mail address is cut, since plugins are written by others.
type pluginLog struct {
	log hclog.Logger
	// panicking is whether the rest is a stack trace.
	panicking bool
}

// read logs r to its end.
func (l *pluginLog) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := lines.ReadLine() // a longer one comes in pieces
		if err != nil {
			return
		}
		l.line(line)
	}
}

func (l *pluginLog) line(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if level, message, pairs, ok := parseEntry(line); ok {
		l.log.Log(level, message, pairs...)
		return
	}
	if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
		l.panicking = true
	}
	level := hclog.Warn
	if l.panicking {
		level = hclog.Error
	}
	l.log.Log(level, sdk.Redact(string(line), nil))
}

// parseEntry reads a line of hclog's JSON format.
func parseEntry(line []byte) (level hclog.Level, message string, pairs []any, ok bool) {
	if line[0] != '{' {
		return 0, "", nil, false
	}
	var entry map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&entry) != nil {
		return 0, "", nil, false
	}
	name, _ := entry["@level"].(string)
	level = hclog.LevelFromString(name)
	message, ok = entry["@message"].(string)
	if !ok || level == hclog.NoLevel {
		return 0, "", nil, false
	}
	for _, key := range slices.Sorted(maps.Keys(entry)) {
		switch key {
		case "@level", "@message", "@module", "@timestamp":
			continue
		}
		value := entry[key]
		if text, isString := value.(string); isString {
			value = sdk.Redact(text, nil)
		} else {
			value = sdk.Redact(fmt.Sprint(value), nil)
		}
		pairs = append(pairs, key, value)
	}
	return level, sdk.Redact(message, nil), pairs, true
}

// lineWriter cuts what is written to it into lines. go-plugin sends there what the plugin prints to
// its standard output and error once it serves.
type lineWriter struct {
	log     *pluginLog
	pending []byte
}

func (w *lineWriter) Write(data []byte) (int, error) {
	w.pending = append(w.pending, data...)
	for {
		line, rest, found := bytes.Cut(w.pending, []byte("\n"))
		if !found && len(line) < maxLine {
			return len(data), nil
		}
		w.log.line(line)
		w.pending = append(w.pending[:0], rest...)
	}
}
