package repair

import (
	"context"
	"time"
)

// noteEvery is how often it is noted, for all replicas, when a webhook was heard; more often where heartbeat is
// short, of which it is at most the noteShare-th part.
const (
	noteEvery = time.Minute
	noteShare = 8
)

// follow keeps up, also during a walk and where another replica is at the source, with what all of them know: so each
// says the same of silence, and of until when everything is known.
func (s *Source) follow() {
	for s.life.Err() == nil {
		if err := s.hear(s.life, time.Now()); err != nil && s.life.Err() == nil {
			s.Log.Warn("it cannot be told whether the source is silent", "error", err)
		}
		select {
		case <-time.After(s.pause()):
		case <-s.life.Done():
		}
	}
}

// hear notes what was heard here, and judges silence by what was heard anywhere.
func (s *Source) hear(ctx context.Context, now time.Time) error {
	if _, err := s.repaired(ctx); err != nil { // its metric
		return err
	}
	heartbeat, every := s.Source.API.Heartbeat, noteEvery
	if heartbeat > 0 {
		every = min(every, heartbeat/noteShare)
	}
	heard, err := s.time(ctx, s.heardMark())
	if err != nil {
		return err
	}
	if heard.After(now.Add(noteEvery)) {
		heard = time.Time{} // noted by a clock that was wrong
	}
	own := s.Heard()
	if own.IsZero() && heard.IsZero() {
		own = s.opened // at first, silence counts from the start
	}
	if own.After(heard) {
		if now.Sub(heard) >= every {
			if err := s.Store.SetMark(ctx, s.heardMark(), []byte(instant(own))); err != nil {
				return err
			}
		}
		heard = own
	}
	s.judge(heartbeat > 0 && now.Sub(heard) > heartbeat, heard)
	return nil
}

// judge notes whether the source is silent. The replica that is at it says so, once.
func (s *Source) judge(silent bool, heard time.Time) {
	s.mu.Lock()
	was := s.silent
	s.silent = silent
	s.mu.Unlock()
	s.Metrics.silent(s.name, silent)
	switch {
	case silent == was || !s.mine():
	case silent:
		s.Log.Warn("the source is silent: no webhook came for longer than heartbeat; is the subscription paused, or is something in front of the listener down?",
			"since", heard.UTC().Format(time.RFC3339))
	default:
		s.Log.Info("webhooks come in again")
	}
}

func (s *Source) isSilent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent
}
