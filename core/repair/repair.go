// Package repair brings what is stored in line with the sender by asking its API: everything at first, what changed
// while nothing was heard, and whether grants that are held are true. It is apart from package cpm, which only
// speaks the API, and from the daemon, which only wires it.
//
// What the API says goes the way of a webhook: the same decoding, the same order of versions, the same deliveries.
// So it can be read again at any time, nothing that is newer is ever lost to it, and targets' limits and the order of
// withdrawals are kept by what keeps them anyway.
//
// Of several replicas over one store, one is at a source at a time: it alone walks, repairs, and confirms what is held.
// All that it knows is in marks of the store, so that another one can take over at any page, and each says the same
// of how it stands. For a moment two can be at a source, and what they do twice changes nothing.
package repair

import (
	"context"
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
	Accept(ctx context.Context, u consent.Update) (consent.Verdict, error)
	Citizen(ctx context.Context, source, citizenID string) (consent.Citizen, error)
	ListHeld(ctx context.Context, after int64, limit int) ([]store.HeldCitizen, error)
	Quarantine(ctx context.Context, q store.Quarantined) error
	Mark(ctx context.Context, name string) ([]byte, error)
	SetMark(ctx context.Context, name string, value []byte) error
	Share() store.Share
}

// Options are what a Source is made of.
type Options struct {
	Source config.Source // with an API
	Client *cpm.Client
	Store  Store
	// Heard is when the last webhook of the source was taken in by this process; zero if none was since its start.
	Heard   func() time.Time
	Log     hclog.Logger
	Metrics *Metrics
}

// Source is one source whose sender can be asked. It is safe for concurrent use.
type Source struct {
	Options
	name    string
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{}
	opened  time.Time
	// looked is whether it was looked, since this one is at the source, for what was missed before it started.
	looked bool
	// asking is held while a walk is asked for, so that of two at once one hears of the other.
	asking sync.Mutex

	mu     sync.Mutex
	silent bool
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
		Options: o, name: o.Source.Name, wake: make(chan struct{}, 1), opened: time.Now(),
		heldAsked: map[string]time.Time{}, doubts: map[string]time.Time{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.Metrics.begin(s.name)
	s.running.Go(s.run)
	s.running.Go(s.follow)
	return s
}

// Close ends what is under way, which goes on at the next Start, or at another replica. The client stays: another Source
// may use it.
func (s *Source) Close() {
	s.end()
	s.running.Wait()
}

// mine is whether this replica is at the source. While one joins, nobody is.
func (s *Source) mine() bool {
	n, _ := s.Store.Share().Part(1, "source "+s.name)
	return n == 1
}

func (s *Source) run() {
	for s.life.Err() == nil {
		walked, err := s.work(s.life)
		if walked && err == nil {
			continue
		}
		if err != nil && s.life.Err() == nil {
			s.Log.Warn("the sender cannot be asked for what is missing here", "error", err)
		}
		select {
		case <-time.After(s.pause()):
		case <-s.wake:
		case <-s.life.Done():
		}
	}
}

// pause is how long it takes until it is looked again.
func (s *Source) pause() time.Duration {
	return min(lookEvery, max(s.Source.API.ConfirmAfter, lookSoon))
}

// work does what there is to do, and says whether it was a walk.
func (s *Source) work(ctx context.Context) (walked bool, err error) {
	if s.mine() {
		j, err := s.next(ctx)
		if err != nil {
			return false, err
		}
		if j != nil {
			return true, s.walk(*j)
		}
		if err := s.confirmHeld(ctx); err != nil {
			return false, errors.Join(err, s.confirmDoubted(ctx))
		}
	}
	return false, s.confirmDoubted(ctx)
}

// next is the walk to be done now; nil if none is. One that was begun goes first, then one that was asked for.
func (s *Source) next(ctx context.Context) (*job, error) {
	for _, mark := range []string{s.walkMark(), s.askedMark()} {
		if j, err := s.job(ctx, mark); j != nil || err != nil {
			return j, err
		}
	}
	return s.due(ctx)
}

// due is the repair that is due; nil if none is. Until when everything is known is kept from one start to the next,
// and begins with the first one.
func (s *Source) due(ctx context.Context) (*job, error) {
	repaired, err := s.repaired(ctx)
	if err != nil {
		return nil, err
	}
	first, now := !s.looked, time.Now()
	s.looked = true
	if repaired.IsZero() {
		return nil, s.setRepaired(ctx, now)
	}
	why := ""
	switch age := now.Sub(repaired); {
	case first && age > restartPause && repaired.Before(s.opened):
		why = "start"
	case s.isSilent() && age > s.Source.API.Heartbeat:
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
	return newJob(KindRepair, why, repaired.Add(-s.Source.API.Overlap))
}

// Standing is until when everything is known here, and whether the source is silent.
func (s *Source) Standing(ctx context.Context) (knownUntil time.Time, silent bool, err error) {
	knownUntil, err = s.repaired(ctx)
	return knownUntil, s.isSilent(), err
}
