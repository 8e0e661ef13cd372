package webhook

import (
	"net/http"
	"strconv"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// result is what became of a post. Its name is the status in the answer and a metric's label, so the
// list is closed.
type result int

const (
	accepted result = iota
	superseded
	duplicate
	quarantined
	unauthorized
	wrongMethod
	wrongMediaType
	tooLarge
	incomplete
	timedOut
	busy
	unavailable
	draining
	notFound
	resultCount
)

var results = [resultCount]struct {
	name   string
	status int
}{
	accepted:       {"accepted", http.StatusOK},
	superseded:     {"superseded", http.StatusOK},
	duplicate:      {"duplicate", http.StatusOK},
	quarantined:    {"quarantined", http.StatusAccepted},
	unauthorized:   {"unauthorized", http.StatusUnauthorized},
	wrongMethod:    {"wrong_method", http.StatusMethodNotAllowed},
	wrongMediaType: {"wrong_media_type", http.StatusUnsupportedMediaType},
	tooLarge:       {"too_large", http.StatusRequestEntityTooLarge},
	incomplete:     {"incomplete", http.StatusBadRequest},
	timedOut:       {"timed_out", http.StatusRequestTimeout},
	busy:           {"busy", http.StatusServiceUnavailable},
	unavailable:    {"unavailable", http.StatusServiceUnavailable},
	draining:       {"draining", http.StatusServiceUnavailable},
	notFound:       {"not_found", http.StatusNotFound},
}

// verdicts are in the order of consent.Verdict.
var verdicts = [...]result{consent.Accepted: accepted, consent.Superseded: superseded, consent.Duplicate: duplicate}

// retryAfter is what a 503 asks for. Whether the sender heeds it is not documented.
const retryAfter = 5 * time.Second

// Values of header fields, shared by all answers and never written to.
var (
	jsonType      = []string{"application/json"}
	retryAfterSec = []string{strconv.Itoa(int(retryAfter / time.Second))}
	allowPost     = []string{http.MethodPost}
	identityOnly  = []string{"identity"}
)

func (r result) String() string { return results[r].name }

// failed is whether the post was not committed anywhere.
func (r result) failed() bool { return results[r].status >= 400 }

// write answers with a constant body. What WWW-Authenticate says depends on the source, so the caller
// sets it.
func (r result) write(w http.ResponseWriter) {
	header := w.Header()
	header["Content-Type"] = jsonType
	switch r {
	case busy, unavailable, draining:
		header["Retry-After"] = retryAfterSec
	case wrongMethod:
		header["Allow"] = allowPost
	}
	w.WriteHeader(results[r].status)
	_, _ = w.Write(bodies[r]) // the sender may be gone; what is committed stays committed
}

var bodies = func() (b [resultCount][]byte) {
	for r := range b {
		b[r] = []byte(`{"status":"` + results[r].name + `"}` + "\n")
	}
	return b
}()
