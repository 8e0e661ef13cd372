// Package repair brings what is stored in line with the sender by asking its API: everything at first, what changed
// while nothing was heard, and whether grants that are held are true. It is apart from package cpm, which only
// speaks the API, and from the daemon, which only wires it.
//
// What the API says goes the way of a webhook: the same decoding, the same order of versions, the same deliveries.
// So it can be read again at any time, nothing that is newer is ever lost to it, and targets' limits and the order of
// withdrawals are kept by what keeps them anyway.
package repair

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/store"
)

// Store is what is needed of the store.
type Store interface {
	Citizen(ctx context.Context, source, citizenID string) (consent.Citizen, error)
	ListHeld(ctx context.Context, after int64, limit int) ([]store.HeldCitizen, error)
	Quarantine(ctx context.Context, q store.Quarantined) error
	Mark(ctx context.Context, name string) ([]byte, error)
	SetMark(ctx context.Context, name string, value []byte) error
}

// Options are what a Source is made of.
type Options struct {
	Source config.Source // with an API
	Client *cpm.Client
	Store  Store
	// Accept commits an update with its deliveries.
	Accept func(ctx context.Context, u consent.Update) (consent.Verdict, error)
	// Heard is when the last webhook of the source was taken in; zero if none was since the start.
	Heard   func() time.Time
	Log     hclog.Logger
	Metrics *Metrics
}

// Source is one source whose sender can be asked. It is safe for concurrent use.
type Source struct {
	Options
	name   string
	life   context.Context
	end    context.CancelFunc
	done   chan struct{}
	wake   chan struct{}
	opened time.Time

	mu       sync.Mutex
	progress Progress
	asked    *job // to begin next
	cut      context.CancelFunc
	silent   bool
	// heldAsked is when the API was last asked of a held grant.
	heldAsked map[string]time.Time
	// doubts are citizens to ask about, and since when; tooMany is whether there were too many to remember.
	doubts  map[string]time.Time
	tooMany bool
}

const (
	// lookEvery is how often it is looked whether there is something to do.
	lookEvery = 5 * time.Second
	lookSoon  = 100 * time.Millisecond
	// restartPause keeps a daemon that restarts again and again from asking the API each time.
	restartPause = time.Minute
	firstPause   = time.Second
	longestPause = 5 * time.Minute
)

// Start goes on with what was under way, and from then on repairs by itself. Close ends it.
func Start(o Options) *Source {
	s := &Source{
		Options: o, name: o.Source.Name, done: make(chan struct{}), wake: make(chan struct{}, 1), opened: time.Now(),
		heldAsked: map[string]time.Time{}, doubts: map[string]time.Time{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.Metrics.begin(s.name)
	go s.run()
	return s
}

// Close ends what is under way, which goes on at the next Start. The client stays: another Source may use it.
func (s *Source) Close() {
	s.end()
	<-s.done
}

func (s *Source) run() {
	defer close(s.done)
	for first := true; s.life.Err() == nil; first = false {
		j, err := s.next(first)
		if err == nil && j != nil {
			s.walk(*j)
			continue
		}
		if err == nil {
			err = errors.Join(s.confirmHeld(s.life), s.confirmDoubted(s.life))
		}
		if err != nil && s.life.Err() == nil {
			s.Log.Warn("the sender cannot be asked for what is missing here", "error", err)
		}
		select {
		case <-time.After(min(lookEvery, max(s.Source.API.ConfirmAfter, lookSoon))):
		case <-s.wake:
		case <-s.life.Done():
		}
	}
}

// next is what is to be done now; nil if nothing is. A walk that was begun goes first, then what was asked for.
func (s *Source) next(first bool) (*job, error) {
	j, err := s.kept(s.life)
	if err != nil || j != nil {
		return j, err
	}
	s.mu.Lock()
	j, s.asked = s.asked, nil
	s.mu.Unlock()
	if j != nil {
		return j, nil
	}
	return s.due(first)
}

// due is the repair that is due; nil if none is. Until when everything is known is kept from one start to the next,
// and begins with the first one.
func (s *Source) due(first bool) (*job, error) {
	repaired, err := s.repaired(s.life)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if repaired.IsZero() {
		return nil, s.setRepaired(s.life, now)
	}
	why := ""
	switch age := now.Sub(repaired); {
	case first && age > restartPause:
		why = "start"
	case s.isSilent(now) && age > s.Source.API.Heartbeat:
		why = "silence"
	case s.Source.API.RepairEvery > 0 && age > s.Source.API.RepairEvery:
		why = "schedule"
	default:
		return nil, nil
	}
	return s.gap(repaired, why), nil
}

// gap is the repair of what changed since everything was known.
func (s *Source) gap(repaired time.Time, why string) *job {
	return &job{Kind: KindRepair, Why: why, Cursor: cpm.Cursor{Since: repaired.Add(-s.Source.API.Overlap)}}
}

// isSilent is whether nothing was heard for as long as heartbeat; it warns once.
func (s *Source) isSilent(now time.Time) bool {
	heartbeat := s.Source.API.Heartbeat
	if heartbeat == 0 {
		return false
	}
	heard := s.Heard()
	if heard.IsZero() {
		heard = s.opened
	}
	silent := now.Sub(heard) > heartbeat
	s.mu.Lock()
	was := s.silent
	s.silent = silent
	s.mu.Unlock()
	switch {
	case silent && !was:
		s.Log.Warn("the source is silent: no webhook came for longer than heartbeat; is the subscription paused, or is something in front of the listener down?",
			"since", heard.UTC().Format(time.RFC3339))
	case !silent && was:
		s.Log.Info("webhooks come in again")
	}
	s.Metrics.silent(s.name, silent)
	return silent
}

// Standing is until when everything is known here, and whether the source is silent.
func (s *Source) Standing(ctx context.Context) (knownUntil time.Time, silent bool, err error) {
	knownUntil, err = s.repaired(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return knownUntil, s.silent, err
}

// The marks of a source.
func (s *Source) repairedMark() string { return "repaired " + s.name }
func (s *Source) walkMark() string     { return "walk " + s.name }

// repaired is the instant on the sender's clock until which everything is known; zero if that was never noted.
func (s *Source) repaired(ctx context.Context) (time.Time, error) {
	value, err := s.Store.Mark(ctx, s.repairedMark())
	if err != nil || value == nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		return time.Time{}, nil // as if it were not there: it is noted anew
	}
	s.Metrics.repaired(s.name, t)
	return t, nil
}

func (s *Source) setRepaired(ctx context.Context, t time.Time) error {
	s.Metrics.repaired(s.name, t)
	return s.Store.SetMark(ctx, s.repairedMark(), []byte(t.UTC().Format(time.RFC3339Nano)))
}

// kept is the walk that was begun and not ended.
func (s *Source) kept(ctx context.Context) (*job, error) {
	value, err := s.Store.Mark(ctx, s.walkMark())
	if err != nil || value == nil {
		return nil, err
	}
	var j job
	if json.Unmarshal(value, &j) != nil {
		return nil, errors.Join(errors.New("what was kept of a backfill cannot be read, and it is given up; begin it again"), s.Store.SetMark(ctx, s.walkMark(), nil))
	}
	return &j, nil
}
