package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jellydator/ttlcache/v3"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/time/rate"
)

const (
	// missTTL is how long it is remembered that nobody was found: long enough for the rules of one update, and
	// shorter than any back-off worth the name.
	missTTL = 2 * time.Second
	// forgetTTL is how long it is remembered that a person was erased: longer than anything takes that was asked
	// before. Should they come back meanwhile, answers are kept for returnTTL, which is enough for who asks.
	forgetTTL = 15 * time.Minute
	returnTTL = time.Minute
	// restAfter is after how many failures in a row, of whomever, a system is left alone. A single person whom it
	// cannot answer for is not enough.
	restAfter           = 5
	leastRest, mostRest = time.Second, 30 * time.Second
)

// lookup is one system with what is known of it and of its answers.
type lookup struct {
	Config
	backend backend
	log     hclog.Logger
	metrics *Metrics
	object  cty.Type // of an answer

	places, common chan struct{} // common are those that withdrawals leave to the others
	limiter        *rate.Limiter // nil: none
	life           context.Context
	end            context.CancelFunc
	running        sync.WaitGroup

	mu       sync.Mutex
	cache    *ttlcache.Cache[subject, answer] // changed under mu
	flights  map[question]*flight
	closed   bool
	failures int // in a row
	rests    int // in a row
	until    time.Time
	failing  string
	since    time.Time
}

// subject is a person, by a hash that holds for every update of them.
type subject [sha256.Size]byte

// question is what is asked. Whoever asks the same while it is under way gets the same answer.
type question struct {
	subject
	externalRef, applicationID string
	version                    int64
	urgent                     bool
}

type flight struct {
	began time.Time
	done  chan struct{}
	value cty.Value
	err   error
}

// answer is what a system said of a person when it was asked with these ids.
type answer struct {
	externalRef, applicationID string
	value                      cty.Value
	// missing is set when they were not found, at that version.
	missing *Missing
	version int64
	// erased is set in place of all else: nothing is to be kept that was asked before.
	erased time.Time
}

func newLookup(c Config, b backend, m *Metrics, log hclog.Logger) *lookup {
	types := map[string]cty.Type{}
	for _, f := range c.Fields {
		types[f.Name] = f.Type
	}
	l := &lookup{
		Config: c, backend: b, log: log, metrics: m, object: cty.Object(types),
		places: make(chan struct{}, c.MaxInFlight), common: make(chan struct{}, max(1, c.MaxInFlight-1)),
		cache:   ttlcache.New(ttlcache.WithCapacity[subject, answer](uint64(c.Size)), ttlcache.WithDisableTouchOnHit[subject, answer]()),
		flights: map[question]*flight{},
	}
	if c.RateLimit > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(c.RateLimit), max(1, int(c.RateLimit)))
	}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

func (l *lookup) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end()
	l.running.Wait()
	l.backend.close()
}

func subjectOf(source, citizenID string) subject {
	return sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(len(source))), source+citizenID...))
}

// known is an answer that is at hand.
func (l *lookup) known(p Person) (cty.Value, bool) {
	if l.CSV != nil {
		// It is in memory, where asking costs no more than looking it up here. What it does not have is found out
		// by fetch, for the count.
		v, err := l.find(context.Background(), p)
		return v, err == nil
	}
	item := l.cache.Get(subjectOf(p.Source, p.ID))
	if item == nil {
		return cty.NilVal, false
	}
	a := item.Value()
	if !a.erased.IsZero() || a.missing != nil || a.externalRef != p.ExternalRef || a.applicationID != p.ApplicationID {
		return cty.NilVal, false
	}
	return a.value, true
}

// fetch answers from what is kept, or asks.
func (l *lookup) fetch(ctx context.Context, p Person) (cty.Value, error) {
	if v, ok := l.known(p); ok {
		return v, nil
	}
	q := question{subjectOf(p.Source, p.ID), p.ExternalRef, p.ApplicationID, p.Version, p.Urgent}
	l.mu.Lock()
	if item := l.cache.Get(q.subject); item != nil {
		if a := item.Value(); a.missing != nil && a.version >= p.Version && a.externalRef == p.ExternalRef && a.applicationID == p.ApplicationID {
			l.mu.Unlock()
			return cty.NilVal, a.missing
		}
	}
	if err := l.resting(); err != nil {
		l.mu.Unlock()
		l.metrics.count(l.Name, "resting")
		return cty.NilVal, err
	}
	if l.closed {
		l.mu.Unlock()
		return cty.NilVal, &Failure{Lookup: l.Name, Why: "consentd is stopping"}
	}
	f := l.flights[q]
	if f == nil {
		f = &flight{began: time.Now(), done: make(chan struct{})}
		l.flights[q] = f
		l.running.Go(func() {
			f.value, f.err = l.ask(p)
			l.mu.Lock()
			l.keep(q, f)
			delete(l.flights, q)
			l.mu.Unlock()
			close(f.done)
		})
	}
	l.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return cty.NilVal, ctx.Err()
	}
}

// resting is the error of a system that is left alone. The caller holds the mutex.
func (l *lookup) resting() error {
	if wait := time.Until(l.until); wait > 0 {
		return &Failure{Lookup: l.Name, Why: l.failing, After: wait}
	}
	return nil
}

// ask waits for a place and asks.
func (l *lookup) ask(p Person) (cty.Value, error) {
	if !p.Urgent {
		select {
		case l.common <- struct{}{}:
			defer func() { <-l.common }()
		case <-l.life.Done():
			return cty.NilVal, &Failure{Lookup: l.Name, Why: "consentd is stopping"}
		}
	}
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	case <-l.life.Done():
		return cty.NilVal, &Failure{Lookup: l.Name, Why: "consentd is stopping"}
	}
	// It may have begun to rest while this one waited.
	l.mu.Lock()
	err := l.resting()
	l.mu.Unlock()
	if err != nil {
		l.metrics.count(l.Name, "resting")
		return cty.NilVal, err
	}
	if l.limiter != nil {
		if err := l.limiter.Wait(l.life); err != nil {
			return cty.NilVal, &Failure{Lookup: l.Name, Why: "consentd is stopping"}
		}
	}
	ctx, cancel := context.WithTimeout(l.life, l.Timeout)
	defer cancel()
	start := time.Now()
	value, err := l.find(ctx, p)
	l.metrics.asked(l.Name, time.Since(start))
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded && err != nil {
		err = errors.New("no answer within " + l.Timeout.String())
	}
	return value, l.judge(err)
}

// find asks and makes an object of the answer. The error is the backend's, or a *Missing.
func (l *lookup) find(ctx context.Context, p Person) (v cty.Value, err error) {
	defer func() {
		if recover() != nil { // the panic's text may hold a value
			err = errors.New("it panicked")
		}
	}()
	values, err := l.backend.find(ctx, p)
	if err != nil {
		return cty.NilVal, err
	}
	return l.Answer(values)
}

// judge notes how the system fares and makes the error that callers get.
func (l *lookup) judge(err error) error {
	if missing := (*Missing)(nil); errors.As(err, &missing) {
		l.fares(nil)
		l.metrics.count(l.Name, "missing")
		return missing
	}
	if errors.Is(err, ErrNobody) || errors.Is(err, errAmbiguous) {
		l.fares(nil)
		l.metrics.count(l.Name, "missing")
		return &Missing{l.Name, err.Error()}
	}
	if err != nil && l.life.Err() != nil {
		return &Failure{Lookup: l.Name, Why: "consentd is stopping"}
	}
	after := l.fares(err)
	if err == nil {
		l.metrics.count(l.Name, "found")
		return nil
	}
	l.metrics.count(l.Name, "failed")
	return &Failure{Lookup: l.Name, Why: err.Error(), After: after}
}

// fares notes success or failure, and answers how long the system is left alone.
func (l *lookup) fares(err error) (rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if l.failing != "" {
			l.log.Info("lookup answers again", "after", time.Since(l.since).Round(time.Second).String())
		}
		l.failures, l.rests, l.failing = 0, 0, ""
		return 0
	}
	now := time.Now()
	if l.failing == "" {
		l.since = now
	}
	if text := err.Error(); text != l.failing {
		l.log.Warn("lookup fails, what needs it waits", "reason", text)
		l.failing = text
	}
	l.failures++
	o := (*outage)(nil)
	if !errors.As(err, &o) && l.failures < restAfter || now.Before(l.until) {
		return max(0, l.until.Sub(now))
	}
	rest = min(leastRest<<min(l.rests, 10), mostRest)
	if o != nil {
		rest = max(rest, o.after)
	}
	l.rests++
	l.until = now.Add(rest)
	return rest
}

// keep remembers an answer. The caller holds the mutex.
func (l *lookup) keep(q question, f *flight) {
	if l.CSV != nil {
		return
	}
	ttl := l.TTL
	if item := l.cache.Get(q.subject); item != nil && !item.Value().erased.IsZero() {
		if !f.began.After(item.Value().erased) {
			return
		}
		ttl = min(ttl, returnTTL)
	}
	a := answer{externalRef: q.externalRef, applicationID: q.applicationID, value: f.value, version: q.version}
	switch missing := (*Missing)(nil); {
	case f.err == nil:
		l.cache.Set(q.subject, a, ttl)
	case errors.As(f.err, &missing):
		a.missing = missing
		l.cache.Set(q.subject, a, missTTL)
	}
}

func (l *lookup) forget(source, citizenID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cache.Set(subjectOf(source, citizenID), answer{erased: time.Now()}, forgetTTL)
}

func (l *lookup) status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Name: l.Name, Kind: l.Kind, Failing: l.failing}
	if l.failing != "" {
		s.Since = l.since
	}
	return s
}
