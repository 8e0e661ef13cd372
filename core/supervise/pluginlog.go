package supervise

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
)

const (
	// maxLine is how much of a line that a plugin prints is logged, in bytes.
	maxLine = 8 << 10
	// linesPerSecond are logged in the long run, and burst at once: what a plugin says when it starts, or a
	// stack trace of many goroutines.
	linesPerSecond = 100
	burst          = 1000
	// lastLines wait for their turn, and are logged in any case when the process ends: why it did stands there.
	lastLines = 100
)

// pluginLog puts what a plugin prints into the host's log: hclog's own lines at their level, and
// everything else, which nobody planned, as a warning; a Go panic with its stack is an error. What
// looks like an e-mail address is cut, since plugins are written by others. Of a flood it logs as much as
// is bearable, how many lines it left out, and the last ones.
type pluginLog struct {
	log hclog.Logger

	mu    sync.Mutex
	limit *rate.Limiter
	// panicking is whether the rest is a stack trace.
	panicking bool
	// waiting are the last lines, in their order; dropped is how many were left out before them since that was
	// last said.
	waiting []string
	dropped int
}

func newPluginLog(log hclog.Logger) *pluginLog {
	return &pluginLog{log: log, limit: rate.NewLimiter(linesPerSecond, burst)}
}

// read logs r to its end, which is that of the process.
func (l *pluginLog) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			break
		}
		text, cut := slices.Clone(line), 0
		for more && err == nil {
			line, more, err = lines.ReadLine()
			cut += len(line)
		}
		l.line(text, cut)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		l.next()
	}
}

// line takes one line, of which some bytes were cut off.
func (l *pluginLog) line(line []byte, cut int) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	if cut > 0 {
		line = fmt.Appendf(line, " ... and %d bytes more", cut)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, string(line))
	for len(l.waiting) > 0 && l.limit.Allow() {
		l.next()
	}
	if len(l.waiting) > lastLines {
		l.waiting = l.waiting[1:]
		l.dropped++
	}
}

// next logs the line that has waited longest.
func (l *pluginLog) next() {
	if l.dropped > 0 {
		l.log.Warn("the plugin printed too much: lines were left out", "lines", l.dropped)
		l.dropped = 0
	}
	l.write([]byte(l.waiting[0]))
	l.waiting = l.waiting[1:]
}

func (l *pluginLog) write(line []byte) {
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
	cut     int
}

func (w *lineWriter) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		room := min(len(line), maxLine-len(w.pending))
		w.pending, w.cut = append(w.pending, line[:room]...), w.cut+len(line)-room
		if found {
			w.log.line(w.pending, w.cut)
			w.pending, w.cut = w.pending[:0], 0
		}
		rest = after
	}
	return len(data), nil
}
