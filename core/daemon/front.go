package daemon

import (
	"net/http"
	"sync/atomic"

	"github.com/consentd/consentd/core/webhook"
)

// front is what the listener serves: the handler of the configuration in force. Requests that are under way
// when it changes are finished by the one before.
type front struct {
	now atomic.Pointer[webhook.Handler]
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.now.Load().ServeHTTP(w, r) }

// Drain makes every post from now on answer 503.
func (f *front) Drain() { f.now.Load().Drain() }
