package webhook

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/trace"
)

// commitTimeout bounds the wait for the store, so that a disk that hangs does not pile up requests. A
// commit that comes through after it is met again as a duplicate.
const commitTimeout = 20 * time.Second

// listener answers the posts of one source.
type listener struct {
	source   config.Source
	auth     authenticator
	store    Store
	limit    int64 // bytes of a body
	room     *semaphore.Weighted
	log      hclog.Logger
	now      func() time.Time
	metrics  sourceMetrics
	draining *atomic.Bool
	trace    *trace.Tracer
	// last is the result before, so that only a changed failure is logged loudly.
	last atomic.Int32
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, span := l.trace.Receive(r, l.source.Name)
	res := l.take(w, r)
	span.End(res.String(), res.failed())
	l.metrics.results[res].Inc()
	if !res.failed() && res != quarantined && l.last.Load() != int32(accepted) {
		l.last.Store(int32(accepted))
	}
	res.write(w)
}

// take does everything but answer, in the order that spares most: who cannot be believed has no body read.
func (l *listener) take(w http.ResponseWriter, r *http.Request) (res result) {
	defer func() {
		if p := recover(); p != nil {
			// Of the value only the type: it may quote the body. A stack holds addresses, no contents.
			l.log.Error("taking an update panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			res = unavailable
		}
	}()
	start := l.now()
	if r.Method != http.MethodPost {
		return l.refuse(wrongMethod, "method is not POST")
	}
	if l.draining.Load() {
		return draining
	}
	if ok, challenge := l.auth.admit(r); !ok {
		w.Header()["Www-Authenticate"] = challenge
		return l.refuse(unauthorized, "credential is missing, wrong or expired")
	}
	l.trace.Believe(r)
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		w.Header()["Accept-Encoding"] = identityOnly
		return l.refuse(wrongMediaType, "content is encoded")
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return l.refuse(wrongMediaType, "content type is not JSON in UTF-8")
	}
	body, held, res, err := l.read(w, r)
	defer l.room.Release(held)
	if err != nil {
		return l.refuse(res, err.Error())
	}
	// A sender that gave up waiting gains from the commit all the same: its next try is a duplicate.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitTimeout)
	defer cancel()
	state, err := Decode(l.source, body)
	if err != nil {
		return l.quarantine(ctx, body, err.Error(), start)
	}
	committing, span := l.trace.Commit(ctx, l.source.Name, string(state.CitizenID), start)
	verdict, err := l.store.Accept(committing, consent.Update{
		Source: l.source.Name, Type: l.source.UpdateType, Received: start, State: state, Body: body,
		ApplyRegressions: l.source.ApplyRegressions,
	})
	if err != nil {
		span.End(unavailable.String(), true)
		return l.refuse(unavailable, "store cannot commit", "error", err)
	}
	span.End(verdicts[verdict].String(), false)
	l.committed(verdicts[verdict], start)
	return verdicts[verdict]
}

func (l *listener) quarantine(ctx context.Context, body []byte, reason string, start time.Time) result {
	err := l.store.Quarantine(ctx, store.Quarantined{
		Source: l.source.Name, Received: start, Reason: reason, Size: len(body), Body: body,
	})
	if err != nil {
		return l.refuse(unavailable, "store cannot commit", "error", err)
	}
	l.committed(quarantined, start)
	return l.refuse(quarantined, reason)
}

func (l *listener) committed(res result, start time.Time) {
	now := l.now()
	took := now.Sub(start)
	l.metrics.commit.Observe(took.Seconds())
	l.metrics.committed(now)
	if l.log.IsDebug() {
		l.log.Debug("update committed", "result", res.String(), "duration", took)
	}
}

// refuse logs why an update was not accepted: as a warning when the result before was another, so that
// a thousand failures alike are one line. The token of a source with oauth2 is refused in the ordinary
// course of things, whenever it expires.
func (l *listener) refuse(res result, reason string, args ...any) result {
	level := hclog.Warn
	switch {
	case l.last.Swap(int32(res)) == int32(res):
		level = hclog.Debug
	case res == unauthorized && l.source.Auth.Mode == config.AuthOAuth2:
		level = hclog.Info
	}
	l.log.Log(level, "update not accepted", append(args, "result", res.String(), "reason", reason)...)
	return res
}

// isJSON is whether a body of that type is read. An empty type is: which one the sender puts is not
// documented, and what is not JSON ends in quarantine anyway.
func isJSON(contentType string) bool {
	switch contentType {
	case "", "application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8":
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// Decode reads a body that is authenticated as an update of src. It is also where the replay of a
// quarantined body begins. The error is the reason for quarantine: it is for a person and quotes nothing
// of the body.
func Decode(src config.Source, body []byte) (consent.State, error) {
	state, err := consent.Decode(body)
	if err != nil {
		return consent.State{}, err
	}
	if src.ApplicationID != "" && string(state.ApplicationID) != src.ApplicationID {
		return consent.State{}, errors.New("applicationId is not the one of this source")
	}
	if state.Permissions == nil && state.Preferences == nil {
		// Either may be missing, and an empty one says that there are none. A message with neither is of a
		// shape that is not known; taken for a state it would withdraw everything, or lose a change.
		return consent.State{}, errors.New("neither permissions nor preferences stand in the message")
	}
	return state, nil
}
