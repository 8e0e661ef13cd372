// Package console is the pages under / of the admin address: what flows, what waits, what stopped, and the buttons
// to do something about it. It is apart from package admin because it is a user of its API like the command
// line: all that it shows of citizens and all that it changes goes through that, with the token of who looks.
package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/consentd/consentd/core/admin"
)

//go:embed templates assets
var files embed.FS

// Options are what a Console is made of.
type Options struct {
	Metrics prometheus.Gatherer
	// Status gathers the picture of the daemon. It holds nothing of citizens.
	Status func(ctx context.Context) (admin.Status, error)
	Log    hclog.Logger
}

// Console samples the metrics from New to Close, and serves pages in between.
type Console struct {
	Options
	api      func(from *http.Request, token string) *admin.Client
	sampler  *sampler
	watchers watchers
	sessions *keep[session]
	people   *keep[person]
	pages    map[string]*template.Template

	stopped context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// New starts to sample.
func New(o Options) *Console {
	c := &Console{
		Options: o, sampler: newSampler(o.Metrics), pages: parse(),
		sessions: newKeep[session](sessionLife), people: newKeep[person](personLife),
	}
	c.stopped, c.stop = context.WithCancel(context.Background())
	c.running.Go(c.run)
	return c
}

// Close ends the live streams and waits for what New started.
func (c *Console) Close() {
	c.stop()
	c.running.Wait()
}

// run takes samples. What takes long, since the store has much to count, is done less often, so that it never costs
// more than a twentieth of one processor.
func (c *Console) run() {
	for {
		began := time.Now()
		c.sampler.take(began)
		c.watchers.wake()
		select {
		case <-time.After(max(every, 20*time.Since(began))):
		case <-c.stopped.Done():
			return
		}
	}
}

// parse makes one set of templates for each page: its own, the frame, and the parts that several pages have.
func parse() map[string]*template.Template {
	common := template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/frame.html", "templates/parts.html"))
	pages := map[string]*template.Template{}
	names, _ := fs.Glob(files, "templates/*.html") // the pattern is well-formed
	for _, name := range names {
		page := strings.TrimSuffix(strings.TrimPrefix(name, "templates/"), ".html")
		pages[page] = template.Must(template.Must(common.Clone()).ParseFS(files, name))
	}
	return pages
}

// Handler serves the pages; api makes a client for who sent a request, or for the bearer of a token.
func (c *Console) Handler(api func(from *http.Request, token string) *admin.Client) http.Handler {
	c.api = api
	mux := http.NewServeMux()
	for pattern, show := range map[string]func(*request) (*view, error){
		"GET /{$}":                       c.overview,
		"GET /targets/{name}":            c.target,
		"POST /targets/{name}/{verb}":    c.changeTarget,
		"GET /dead":                      c.dead,
		"POST /dead/{verb}":              c.changeDead,
		"GET /quarantine":                c.quarantine,
		"GET /quarantine/{id}":           c.quarantined,
		"POST /quarantine/{id}/{verb}":   c.changeQuarantined,
		"GET /citizens":                  c.citizens,
		"POST /citizens":                 c.findCitizen,
		"GET /citizens/{handle}":         c.citizen,
		"POST /citizens/{handle}/{verb}": c.changeCitizen,
		"GET /playground":                c.playground,
		"POST /playground":               c.play,
		"GET /receipts":                  c.receipts,
		"POST /receipts":                 c.verifyReceipts,
		"/":                              func(*request) (*view, error) { return nil, errNoPage },
	} {
		mux.Handle(pattern, c.signedIn(show))
	}
	mux.HandleFunc("GET /events", c.events)
	mux.HandleFunc("GET /login", c.showLogin)
	mux.HandleFunc("POST /login", c.login)
	mux.HandleFunc("POST /logout", c.logout)
	assets, _ := fs.Sub(files, "assets") // the name is well-formed
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServerFS(assets)))
	return c.secured(mux)
}

// policy lets nothing come from elsewhere, nothing run that is not ours, and nobody put the page in a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds what a form may hold, in bytes: a pasted update and some more.
const maxForm = 2 << 20

func (c *Console) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			h.Set("Cache-Control", "no-cache")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// request is one request of somebody who may look.
type request struct {
	*http.Request
	w      http.ResponseWriter
	who    visitor
	client *admin.Client
}

// view is what templates are given.
type view struct {
	// Page names the template, Title what it is called.
	Page, Title string
	// Path is where the page is, for its live parts; empty when it has none.
	Path      string
	Notice    notice
	Status    admin.Status
	Now       time.Time
	SignedIn  bool
	Operator  bool
	Attention []concern
	Vitals    vitals
	Data      any
	code      int
}

// Mistakes of who asks.
var (
	errNoPage    = &admin.RefusedError{Status: http.StatusNotFound, Text: "there is no such page"}
	errForbidden = &admin.RefusedError{Status: http.StatusForbidden, Text: "your token may look and change nothing"}
)

// signedIn asks for a session where a token is asked for, and writes what show makes. A nil view means that it has
// answered already.
func (c *Console) signedIn(show func(*request) (*view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := c.who(r)
		if err != nil {
			c.turnAway(w, r, err)
			return
		}
		if r.Method == http.MethodPost && r.ParseForm() != nil {
			http.Error(w, "the form did not come whole, or is too large", http.StatusBadRequest)
			return
		}
		q := &request{Request: r, w: w, who: who, client: c.api(r, who.token)}
		v, err := show(q)
		if err != nil {
			v = c.problem(q, err)
		}
		if v != nil {
			c.write(w, v)
		}
	})
}

// view begins a page with what all have.
func (c *Console) view(ctx context.Context, who visitor, page, title string, data any) (*view, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{Page: page, Title: title, Status: s, Now: time.Now(), SignedIn: who.session != "", Operator: who.operator, Data: data, code: http.StatusOK}
	v.Attention = concerns(s, v.Now)
	v.Vitals = c.vitals(s)
	return v, nil
}

func (c *Console) page(q *request, page, title string, data any) (*view, error) {
	v, err := c.view(q.Context(), q.who, page, title, data)
	if err == nil {
		v.Notice = noticeOf(q)
	}
	return v, err
}

// problem is the page for what went wrong. It tells what the API says, which holds nothing of citizens.
func (c *Console) problem(q *request, err error) *view {
	v := &view{Now: time.Now(), SignedIn: q.who.session != "", Operator: q.who.operator}
	if full, statusErr := c.view(q.Context(), q.who, "", "", nil); statusErr == nil {
		v = full
	}
	v.Page, v.Title, v.Data, v.code = "problem", "That did not work", err.Error(), http.StatusInternalServerError
	var refused *admin.RefusedError
	if errors.As(err, &refused) {
		v.code = refused.Status
	} else {
		c.Log.Warn("page cannot be shown", "error", err)
	}
	return v
}

func (c *Console) write(w http.ResponseWriter, v *view) {
	var page bytes.Buffer
	if err := c.pages[v.Page].ExecuteTemplate(&page, "frame", v); err != nil {
		c.Log.Error("page cannot be rendered", "page", v.Page, "error", err)
		http.Error(w, "this page cannot be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.code)
	_, _ = page.WriteTo(w) // the browser may be gone
}
