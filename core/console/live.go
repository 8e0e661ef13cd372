package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxWatchers bounds the live streams.
const maxWatchers = 64

// watchers are woken after each sample.
type watchers struct {
	mu  sync.Mutex
	all map[chan struct{}]bool
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.all {
		select {
		case ch <- struct{}{}:
		default: // it is still busy with the sample before
		}
	}
}

// add is nil when there are too many.
func (w *watchers) add() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) >= maxWatchers {
		return nil
	}
	if w.all == nil {
		w.all = map[chan struct{}]bool{}
	}
	ch := make(chan struct{}, 1)
	w.all[ch] = true
	return ch
}

func (w *watchers) remove(ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, ch)
}

// fragment is one event: what is in the element of that id now.
type fragment struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// liveParts are the parts of each page that change by themselves. Each is a template and the id of an element. A
// citizen's page has none: to look at a citizen is an action, which the audit tells.
var liveParts = map[string][]string{
	"overview": {"vitals", "flow", "targets", "sources"},
	"target":   {"standing", "plots"},
}

// events streams the parts of a page that changed, for as long as somebody looks.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	who, err := c.who(r)
	if err != nil {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	ch := c.watchers.add()
	if ch == nil {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer c.watchers.remove(ch)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	defer control.SetWriteDeadline(time.Time{}) // the connection may carry other requests afterwards
	fmt.Fprint(w, "retry: 1000\n\n")
	sent := map[string]string{}
	for {
		now, err := c.parts(r, who)
		if err != nil {
			return // the browser tries again
		}
		// A reader that is gone without a word must not hold the stream.
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second))
		for _, f := range now {
			if sent[f.ID] == f.HTML {
				continue
			}
			sent[f.ID] = f.HTML
			data, err := json.Marshal(f)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-ch:
		case <-r.Context().Done():
			return
		case <-c.stopped.Done():
			return
		}
		if who, err = c.who(r); err != nil {
			return
		}
	}
}

// parts renders what is live on the page that r asks for.
func (c *Console) parts(r *http.Request, who visitor) ([]fragment, error) {
	q := &request{Request: r, who: who, client: c.api(r, who.token)}
	v, err := c.viewOf(q, r.URL.Query().Get("page"))
	if err != nil {
		return nil, err
	}
	var all []fragment
	for _, name := range append([]string{"attention", "tabs"}, liveParts[v.Page]...) {
		var html bytes.Buffer
		if err := c.pages[v.Page].ExecuteTemplate(&html, name, v); err != nil {
			return nil, err
		}
		all = append(all, fragment{name, html.String()})
	}
	return all, nil
}

// viewOf is the view of a page that has live parts; of any other, that of what all pages have.
func (c *Console) viewOf(q *request, path string) (*view, error) {
	name, of, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	of, err := url.PathUnescape(of)
	if err != nil {
		return nil, err
	}
	switch {
	case path == "/":
		return c.overview(q)
	case name == "targets":
		q.SetPathValue("name", of)
		return c.target(q)
	}
	v, err := c.page(q, "problem", "", nil)
	if err != nil {
		return nil, err
	}
	v.Path = path
	if name == "citizens" && of != "" {
		name = "citizen"
	}
	if c.pages[name] != nil {
		v.Page = name
	}
	return v, nil
}
