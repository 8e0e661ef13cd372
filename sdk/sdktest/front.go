package sdktest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/consentd/consentd/sdk"
)

// front stands before the author's fake vendor and misbehaves when it is told to.
type front struct {
	vendor   http.Handler
	fault    atomic.Pointer[fault]
	requests atomic.Int64
	followed atomic.Bool // somebody went where a redirect leads
	closed   chan struct{}
	release  func() // ends what hangs
}

func newFront(vendor http.Handler) *front {
	f := &front{vendor: vendor, closed: make(chan struct{})}
	f.release = sync.OnceFunc(func() { close(f.closed) })
	return f
}

// fault answers in the vendor's place.
type fault func(w http.ResponseWriter, r *http.Request, body []byte)

const redirected = "/sdktest-redirected"

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	if strings.HasPrefix(r.URL.Path, redirected) {
		f.followed.Store(true)
	}
	serve := f.fault.Load()
	if serve == nil {
		f.vendor.ServeHTTP(w, r)
		return
	}
	// Only with the body read does the server notice that the client is gone.
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	(*serve)(w, r, body)
}

// misbehave makes every answer from now on that of the fault; nil ends it.
func (f *front) misbehave(serve fault) {
	if serve == nil {
		f.fault.Store(nil)
		return
	}
	f.fault.Store(&serve)
}

// hang answers nothing until the client or the kit is gone.
func (f *front) hang(_ http.ResponseWriter, r *http.Request, _ []byte) {
	select {
	case <-r.Context().Done():
	case <-f.closed:
	}
	panic(http.ErrAbortHandler)
}

// failure is one way in which a vendor's HTTP API fails.
type failure struct {
	name  string
	what  string
	want  []sdk.Kind
	serve func(*world) fault
}

func answer(status int, header ...string) func(*world) fault {
	return func(w *world) fault {
		return func(out http.ResponseWriter, r *http.Request, body []byte) {
			out.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(header); i += 2 {
				out.Header().Set(header[i], header[i+1])
			}
			out.WriteHeader(status)
			text := string(encode(map[string]string{"error": http.StatusText(status), "request": echo(r, body)}))
			if w.suite.ErrorBody != nil {
				text = w.suite.ErrorBody(status, echo(r, body))
			}
			_, _ = io.WriteString(out, text) // the client's loss
		}
	}
}

// echo is all that a request held.
func echo(r *http.Request, body []byte) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\n", r.Method, r.URL)
	_ = r.Header.Write(&text) // a Builder takes everything
	text.Write(body)
	return text.String()
}

const retryAfter = 7 // seconds

func failures() []failure {
	const (
		unauthorized = sdk.KindUnauthorized
		rejected     = sdk.KindRejected
		retry        = sdk.KindRetry
		throttled    = sdk.KindThrottled
	)
	kinds := func(k ...sdk.Kind) []sdk.Kind { return k }
	return []failure{
		{"http/302", "The vendor redirects elsewhere.", kinds(unauthorized), answer(302, "Location", redirected)},
		{"http/400", "The vendor does not take the request.", kinds(rejected, unauthorized), answer(400)},
		{"http/401", "The vendor does not know the credentials.", kinds(unauthorized), answer(401)},
		{"http/403", "The credentials may not do this.", kinds(unauthorized), answer(403)},
		{"http/404", "The vendor does not know the address.", kinds(unauthorized, rejected), answer(404)},
		{"http/409", "Another change is in the way.", kinds(retry, rejected), answer(409)},
		{"http/422", "The vendor does not take the content.", kinds(rejected, unauthorized), answer(422)},
		{"http/429", "The vendor asks to slow down.", kinds(throttled), answer(429)},
		{"http/429-retry-after", "The vendor asks to slow down and says for how long.", kinds(throttled), answer(429, "Retry-After", fmt.Sprint(retryAfter))},
		{"http/500", "The vendor is broken.", kinds(retry), answer(500)},
		{"http/503", "The vendor is away.", kinds(retry, throttled), answer(503)},
		{"http/503-retry-after", "The vendor is away and says for how long.", kinds(throttled, retry), answer(503, "Retry-After", fmt.Sprint(retryAfter))},
		{"http/cut", "The connection is cut in place of an answer.", kinds(retry), func(*world) fault {
			return func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) }
		}},
		{"http/truncated", "The answer ends in its middle.", kinds(retry), func(*world) fault {
			return func(out http.ResponseWriter, _ *http.Request, _ []byte) {
				out.Header().Set("Content-Type", "application/json")
				out.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(out, `{"id":`)
				_ = http.NewResponseController(out).Flush()
				panic(http.ErrAbortHandler)
			}
		}},
		{"http/not-json", "Something in between answers 200 with a page of HTML.", kinds(retry, unauthorized), func(*world) fault {
			return func(out http.ResponseWriter, _ *http.Request, _ []byte) {
				out.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(out, "<html><body>Please sign in to the network</body></html>")
			}
		}},
		{"http/timeout", "The vendor does not answer in time.", kinds(retry), func(w *world) fault { return w.front.hang }},
	}
}
