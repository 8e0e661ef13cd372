package repair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/cpm"
)

// Kinds of walks.
const (
	KindBackfill = "backfill"
	KindRepair   = "repair"
)

// job is a walk through what the sender knows. It is kept after every page, so that it goes on after an interruption.
type job struct {
	Kind    string     `json:"kind"`
	Why     string     `json:"why,omitempty"`
	Started time.Time  `json:"started"`
	Cursor  cpm.Cursor `json:"cursor"`
	Counts  Counts     `json:"counts"`
}

// Counts are what became of the citizens that were read.
type Counts struct {
	Accepted    int `json:"accepted"`
	Unchanged   int `json:"unchanged"`
	Superseded  int `json:"superseded"`
	Quarantined int `json:"quarantined"`
}

func (c *Counts) add(o Counts) {
	c.Accepted += o.Accepted
	c.Unchanged += o.Unchanged
	c.Superseded += o.Superseded
	c.Quarantined += o.Quarantined
}

// Progress is how the walk under way goes, or how the last one ended.
type Progress struct {
	Kind    string    `json:"kind,omitempty"`
	Why     string    `json:"why,omitempty"`
	Running bool      `json:"running"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	// Read is how many citizens were read, Part how much of the whole that is, from 0 to 1.
	Read int     `json:"read"`
	Part float64 `json:"part"`
	// What became of them.
	Accepted    int `json:"accepted"`
	Unchanged   int `json:"unchanged"`
	Superseded  int `json:"superseded"`
	Quarantined int `json:"quarantined"`
	// Error is why it does not go on for now, or did not end well.
	Error string `json:"error,omitempty"`
	// Refused is whether the API refuses, so that a person has to act.
	Refused bool `json:"refused,omitempty"`
}

// ErrBusy is for a walk that is asked for while another is under way.
var ErrBusy = errors.New("another one is under way")

// Backfill begins to read every citizen who was updated since an instant, or all. It goes on in the background, and
// after a restart from where it was.
func (s *Source) Backfill(since time.Time) (Progress, error) {
	return s.ask(&job{Kind: KindBackfill, Cursor: cpm.Cursor{Since: since}})
}

// Repair begins to read what changed since everything was known.
func (s *Source) Repair(ctx context.Context) (Progress, error) {
	repaired, err := s.repaired(ctx)
	if err != nil {
		return Progress{}, err
	}
	if repaired.IsZero() {
		repaired = s.opened
	}
	return s.ask(s.gap(repaired, "asked"))
}

func (s *Source) ask(j *job) (Progress, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress.Running || s.asked != nil {
		return s.progress, ErrBusy
	}
	s.asked = j
	s.progress = Progress{Kind: j.Kind, Why: j.Why, Running: true, Started: time.Now(), Since: j.Cursor.Since}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.progress, nil
}

// Progress is how it goes.
func (s *Source) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// Stop gives the walk under way up for good, and says whether there was one.
func (s *Source) Stop(ctx context.Context) (bool, error) {
	s.mu.Lock()
	was := s.progress.Running
	if s.asked != nil {
		s.asked, s.progress.Running = nil, false
	}
	if s.cut != nil {
		s.cut()
	}
	s.mu.Unlock()
	for was && s.Progress().Running {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return was, ctx.Err()
		}
	}
	return was, nil
}

// walk does a job to its end, or until it is stopped or the source is closed. While the API does not answer it waits.
func (s *Source) walk(j job) {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	s.mu.Lock()
	s.cut = cancel
	s.mu.Unlock()
	if j.Started.IsZero() {
		j.Started = time.Now()
	}
	s.show(j, nil)
	log := s.Log.With("kind", j.Kind)
	log.Info("reading from the sender's API", "why", j.Why, "resumed", !j.Cursor.From.IsZero())
	pause, last := firstPause, ""
	for {
		err := s.pages(ctx, &j)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			err = errors.New("stopped")
			if s.life.Err() == nil { // by Stop, so it is not to go on at the next start
				err = errors.Join(err, s.Store.SetMark(s.life, s.walkMark(), nil))
			}
			s.finish(j, err)
			return
		}
		if text := err.Error(); text != last {
			log.Warn("the sender's API cannot be read; it is tried again", "error", err)
			last = text
		}
		s.show(j, err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
	s.finish(j, s.ended(ctx, j))
}

// pages reads from where the job is.
func (s *Source) pages(ctx context.Context, j *job) error {
	if j.Cursor.Before.IsZero() {
		// Nobody may enter a window while it is read, so it ends in the past of the sender's clock.
		now, err := s.Client.Clock(ctx)
		if err != nil {
			return err
		}
		j.Cursor.Before = now
	}
	return s.Client.Walk(ctx, j.Cursor, func(p cpm.Page, at cpm.Cursor) error {
		counts, err := s.take(ctx, p.Bodies)
		if err != nil {
			return fmt.Errorf("keep what the sender's API says: %w", err)
		}
		j.Counts.add(counts)
		j.Cursor = at
		value, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if err := s.Store.SetMark(ctx, s.walkMark(), value); err != nil {
			return err
		}
		s.Metrics.read(s.name, len(p.Bodies))
		s.show(*j, nil)
		return nil
	})
}

// ended notes until when everything is known, if the walk went back far enough for that.
func (s *Source) ended(ctx context.Context, j job) error {
	repaired, err := s.repaired(ctx)
	if err != nil {
		return err
	}
	if repaired.IsZero() || !j.Cursor.Since.After(repaired) {
		if err := s.setRepaired(ctx, j.Cursor.Before); err != nil {
			return err
		}
	}
	return s.Store.SetMark(ctx, s.walkMark(), nil)
}

func (s *Source) show(j job, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = Progress{
		Kind: j.Kind, Why: j.Why, Running: true, Started: j.Started, Since: j.Cursor.Since, Read: j.Cursor.Read, Part: j.Cursor.Part(),
		Accepted: j.Counts.Accepted, Unchanged: j.Counts.Unchanged, Superseded: j.Counts.Superseded, Quarantined: j.Counts.Quarantined,
	}
	if err != nil {
		s.progress.Error, s.progress.Refused = err.Error(), errors.Is(err, cpm.ErrRefused)
	}
}

func (s *Source) finish(j job, err error) {
	s.show(j, err)
	s.mu.Lock()
	s.progress.Running, s.progress.Ended, s.cut = false, time.Now(), nil
	if err == nil {
		s.progress.Part = 1
	}
	s.mu.Unlock()
	if err != nil {
		s.Log.Info("reading from the sender's API ended early", "kind", j.Kind, "reason", err.Error())
		return
	}
	if j.Why == "silence" && j.Counts.Accepted > 0 {
		s.Log.Warn("the source is silent, and yet the sender had changes: no webhook brought them", "citizens", j.Counts.Accepted)
	}
	s.Log.Info("read from the sender's API", "kind", j.Kind, "why", j.Why, "citizens", j.Cursor.Read, "accepted", j.Counts.Accepted,
		"unchanged", j.Counts.Unchanged, "superseded", j.Counts.Superseded, "quarantined", j.Counts.Quarantined,
		"duration", time.Since(j.Started).Round(time.Millisecond))
}
