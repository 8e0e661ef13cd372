// Package sim plays the sender: applications, citizens and what they allow, subscriptions with their webhooks, and
// the API. It is the sender in the end-to-end tests and in `consentd run --dev`, and apart from package cpm so
// that the client is only ever tested from outside.
//
// It stands for what the sender documents. What is inferred says so where it stands; what is not known at all
// is a switch in Behaviour.
package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// What a Sim knows when Options name nothing else.
const (
	Application  = "acme-eu-01"
	APIKey       = "simulated-cpm-key"
	ClientID     = "simulated-cpm-client"
	ClientSecret = "simulated-cpm-secret"
)

// Options are what a Sim begins with.
type Options struct {
	// Application is the one application there is.
	Application string
	// Configuration is what the option ids mean.
	Configuration Configuration
	// Workers is how many webhooks are posted at once.
	Workers int
	// Notify, if not nil, hears of every post of a webhook and what it was answered.
	Notify func(citizenRef, what string)
}

// Behaviour is what is not known of the sender, or goes wrong at times.
type Behaviour struct {
	// Restamp gives an hourly retry a new sentAt.
	Restamp bool
	// Duplicate posts every message twice.
	Duplicate bool
	// Shuffle posts what waits in an order by chance.
	Shuffle bool
	// MaxWindow is how many citizens a window may hold before the API answers 504; 0: any number.
	MaxWindow int
	// RateLimit is how many API requests a second are answered; 0: any number. The documents tell of fair use and
	// name no number.
	RateLimit int
	// FairUse is how many access tokens are given out before that is refused; 0: any number.
	FairUse int
	// Lag is how far what the API reads is behind. Imports are documented to be eventually consistent.
	Lag time.Duration
	// NoTotal leaves out how many there are: how that is called is not known.
	NoTotal bool
	// Failing lets every API request fail with 503.
	Failing bool
}

// Sim is a sender. It is safe for concurrent use, and an http.Handler of its API and its token endpoint.
type Sim struct {
	options Options
	mux     *http.ServeMux
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu            sync.Mutex
	changed       *sync.Cond
	behaviour     Behaviour
	ahead         time.Duration
	citizens      map[string]*citizen
	order         []*citizen
	byRef         map[string]*citizen
	subscriptions []*subscription
	queues        [][]*message // one a worker; a citizen's messages are all in the same
	failed        []*message
	busy          int // messages that are being posted
	numbers       int
	tokens        map[string]time.Time // access tokens and their ends
	issued        int
	requests      map[string]int
	second        int64
	inSecond      int
}

// New makes a sender and starts what posts its webhooks. Close ends it.
func New(o Options) *Sim {
	if o.Application == "" {
		o.Application = Application
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	s := &Sim{
		options: o, citizens: map[string]*citizen{}, byRef: map[string]*citizen{},
		queues: make([][]*message, o.Workers), tokens: map[string]time.Time{}, requests: map[string]int{},
	}
	s.changed = sync.NewCond(&s.mu)
	s.life, s.end = context.WithCancel(context.Background())
	s.routes()
	for worker := range s.queues {
		s.running.Go(func() { s.post(worker) })
	}
	s.running.Go(s.watch)
	return s
}

// Close ends the posting of webhooks.
func (s *Sim) Close() {
	s.end()
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
	s.running.Wait()
}

// Behave changes how the sender behaves from now on.
func (s *Sim) Behave(change func(*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.behaviour)
}

// Advance moves the sender's clock, and with it what is to be tried again hourly.
func (s *Sim) Advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += by
	s.requeue()
}

// now is the sender's clock, in milliseconds as all its times are.
func (s *Sim) now() time.Time { return time.Now().Add(s.ahead).UTC().Truncate(time.Millisecond) }

// watch looks for what is to be tried again as time passes.
func (s *Sim) watch() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			s.requeue()
			s.mu.Unlock()
		case <-s.life.Done():
			return
		}
	}
}

// Tokens is how many access tokens were given out.
func (s *Sim) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// Requests is how many API requests there were of a method and a path, as "GET /v1/permissions".
func (s *Sim) Requests(of string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[of]
}

// Waiting is how many messages are on their way, and how many wait for their hourly retry.
func (s *Sim) Waiting() (queued, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		queued += len(q)
	}
	return queued + s.busy, len(s.failed)
}

// id makes one. Real ones are short and opaque.
func (s *Sim) id(prefix string) string {
	s.numbers++
	return fmt.Sprintf("%s%06x%02x", prefix, s.numbers, rand.N(256))
}
