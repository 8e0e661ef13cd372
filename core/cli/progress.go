package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress shows on standard error how far something long is: a bar that is drawn anew on a terminal, else a line
// now and then, as JSON for who asked for JSON. What takes no time shows none.
type progress struct {
	w        io.Writer
	terminal bool
	json     bool
	began    time.Time
	last     time.Time
	drawn    bool
}

const (
	// quietFor is how long nothing is shown, drawEvery and lineEvery how often something is afterwards.
	quietFor  = 300 * time.Millisecond
	drawEvery = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30
)

func (a *App) progress(asJSON bool) *progress {
	p := &progress{w: a.Stderr, json: asJSON, began: time.Now()}
	if f, ok := a.Stderr.(*os.File); ok && !asJSON {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// show says that so much of a total is done; a total of 0 is not known.
func (p *progress) show(what string, done, total int64) {
	now := time.Now()
	every := lineEvery
	if p.terminal {
		every = drawEvery
	}
	if now.Sub(p.began) < quietFor || now.Sub(p.last) < every {
		return
	}
	p.last = now
	done = max(done, 0)
	switch {
	case p.json:
		line, _ := json.Marshal(map[string]any{"progress": what, "done": done, "total": total})
		fmt.Fprintf(p.w, "%s\n", line)
	case p.terminal:
		p.drawn = true
		fmt.Fprintf(p.w, "\r\x1b[K%s", p.bar(what, done, total))
	default:
		fmt.Fprintln(p.w, p.bar(what, done, total))
	}
}

func (p *progress) bar(what string, done, total int64) string {
	if total <= 0 {
		return fmt.Sprintf("%s %d", what, done)
	}
	done = min(done, total)
	percent := fmt.Sprintf("%s %d of %d, %d%%", what, done, total, 100*done/total)
	if !p.terminal {
		return percent
	}
	full := int(barWidth * done / total)
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent)
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
