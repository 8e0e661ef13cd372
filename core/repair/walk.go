package repair

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/cpm"
)

// Kinds of walks.
const (
	KindBackfill = "backfill"
	KindRepair   = "repair"
)

// job is a walk through what the sender knows. It is kept after every page, so that it goes on after an interruption, and
// at any replica.
type job struct {
	Kind string `json:"kind"`
	Why  string `json:"why,omitempty"`
	// Started is when it was asked for or found due. No two of a source have the same.
	Started time.Time  `json:"started"`
	Cursor  cpm.Cursor `json:"cursor"`
	Counts  Counts     `json:"counts"`
	// Ended is of one that is over. Error is why it did not end well, or does not go on for now.
	Ended   time.Time `json:"ended,omitzero"`
	Error   string    `json:"error,omitempty"`
	Refused bool      `json:"refused,omitempty"`
}

func newJob(kind, why string, since time.Time) *job {
	return &job{Kind: kind, Why: why, Started: time.Now().UTC(), Cursor: cpm.Cursor{Since: since}}
}

func (j job) progress() admin.Progress {
	p := admin.Progress{
		Kind: j.Kind, Why: j.Why, Running: j.Ended.IsZero(), Started: j.Started, Ended: j.Ended, Since: j.Cursor.Since, Read: j.Cursor.Read, Part: j.Cursor.Part(),
		Accepted: j.Counts.Accepted, Unchanged: j.Counts.Unchanged, Superseded: j.Counts.Superseded, Quarantined: j.Counts.Quarantined,
		Error: j.Error, Refused: j.Refused,
	}
	if !p.Running && p.Error == "" {
		p.Part = 1
	}
	return p
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

// ErrBusy is for a walk that is asked for while another is under way.
var ErrBusy = errors.New("another one is under way")

// Backfill begins to read every citizen who was updated since an instant, or all. It goes on in the background, at the
// replica that is at the source, and after a restart from where it was.
func (s *Source) Backfill(ctx context.Context, since time.Time) (admin.Progress, error) {
	return s.ask(ctx, newJob(KindBackfill, "", since))
}

// Repair begins to read what changed since everything was known.
func (s *Source) Repair(ctx context.Context) (admin.Progress, error) {
	repaired, err := s.repaired(ctx)
	if err != nil {
		return admin.Progress{}, err
	}
	if repaired.IsZero() {
		repaired = s.opened
	}
	return s.ask(ctx, s.gap(repaired, "asked"))
}

// ask leaves word for whoever is at the source. Of two who ask at two replicas in the same instant, the later one may be
// heard alone.
func (s *Source) ask(ctx context.Context, j *job) (admin.Progress, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	other, err := s.underWay(ctx)
	if err != nil {
		return admin.Progress{}, err
	}
	if other != nil {
		return other.progress(), ErrBusy
	}
	if err := s.setJob(ctx, s.askedMark(), *j); err != nil {
		return admin.Progress{}, err
	}
	s.nudge()
	return j.progress(), nil
}

// nudge lets this replica look at once.
func (s *Source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Progress is how it goes, or how the last walk ended, wherever that was.
func (s *Source) Progress(ctx context.Context) (admin.Progress, error) {
	j, err := s.underWay(ctx)
	if j == nil && err == nil {
		j, err = s.job(ctx, s.walkedMark())
	}
	if j == nil || err != nil {
		return admin.Progress{}, err
	}
	return j.progress(), nil
}

// Stop gives the walk under way up for good, and says whether there was one. It waits until it has ended.
func (s *Source) Stop(ctx context.Context) (bool, error) {
	j, err := s.underWay(ctx)
	if j == nil || err != nil {
		return false, err
	}
	if err := s.Store.SetMark(ctx, s.stopMark(), []byte(instant(j.Started))); err != nil {
		return true, err
	}
	s.nudge()
	for {
		is, err := s.underWay(ctx)
		switch {
		case ctx.Err() != nil:
			return true, fmt.Errorf("it is noted that the %s is to end, and the replica that is at it has not looked yet: %w", j.Kind, ctx.Err())
		case err != nil, is == nil, !is.Started.Equal(j.Started):
			return true, err
		}
		select {
		case <-time.After(endingEvery):
		case <-ctx.Done():
		}
	}
}

const (
	// stopEvery is how often it is looked whether a walk is to be stopped, and endingEvery whether it has.
	stopEvery   = time.Second
	endingEvery = 20 * time.Millisecond
)

// errElsewhere is for a walk that another replica goes on with.
var errElsewhere = errors.New("another replica is at the source")

// walk does a job to its end, or until it is stopped, the source is closed or another replica's. An error means that the
// store does not answer: what was kept is gone on with.
func (s *Source) walk(j job) error {
	if j.Started.IsZero() {
		j.Started = time.Now().UTC()
	}
	if err := s.setJob(s.life, s.walkMark(), j); err != nil {
		return err
	}
	if err := s.taken(s.life, j); err != nil {
		return err
	}
	log := s.Log.With("kind", j.Kind)
	log.Info("reading from the sender's API", "why", j.Why, "resumed", !j.Cursor.From.IsZero())
	ctx, cut := context.WithCancelCause(s.life)
	var watching sync.WaitGroup
	started := j.Started
	watching.Go(func() { s.heedStop(ctx, cut, started) })
	err := s.stopped(ctx, started)
	if err == nil {
		err = s.read(ctx, &j, log)
	}
	cut(nil)
	watching.Wait()
	if err == nil || errors.Is(err, errStopped) {
		err = s.finish(j, err)
	}
	switch {
	case errors.Is(err, errElsewhere):
		log.Info("another replica goes on with reading from the sender's API", "citizens", j.Cursor.Read)
		return nil
	case s.life.Err() != nil:
		return nil
	}
	return err
}

// heedStop cuts a walk that is to be stopped, wherever that was asked for.
func (s *Source) heedStop(ctx context.Context, cut context.CancelCauseFunc, started time.Time) {
	for {
		select {
		case <-time.After(stopEvery):
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		if errors.Is(s.stopped(ctx, started), errStopped) {
			cut(errStopped)
			return
		}
	}
}

// read reads from where the job is to its end. While the API does not answer it waits.
func (s *Source) read(ctx context.Context, j *job, log hclog.Logger) error {
	last := ""
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := s.pages(ctx, j)
		switch {
		case err == nil, errors.Is(err, errElsewhere):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		j.Error, j.Refused = err.Error(), errors.Is(err, cpm.ErrRefused)
		kept := s.keep(ctx, *j)
		if errors.Is(kept, errElsewhere) {
			return kept
		}
		err = errors.Join(err, kept)
		if text := err.Error(); text != last {
			log.Warn("the sender's API cannot be read; it is tried again", "error", err)
			last = text
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !s.mine() {
			return errElsewhere
		}
	}
}

// pages reads page by page, as long as this replica is at the source.
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
		j.Cursor, j.Error, j.Refused = at, "", false
		if err := s.keep(ctx, *j); err != nil {
			return err
		}
		s.Metrics.read(s.name, len(p.Bodies))
		if !s.mine() {
			return errElsewhere
		}
		return nil
	})
}

// finish keeps how a walk ended, and, if it ended well and went back far enough for that, until when everything is known.
func (s *Source) finish(j job, reason error) error {
	ctx := s.life
	if err := s.still(ctx, j); err != nil {
		return err
	}
	j.Ended, j.Error, j.Refused = time.Now().UTC(), "", false
	if reason != nil {
		j.Error = reason.Error()
	} else {
		repaired, err := s.repaired(ctx)
		if err != nil {
			return err
		}
		if repaired.IsZero() || !j.Cursor.Since.After(repaired) {
			if err := s.setRepaired(ctx, j.Cursor.Before); err != nil {
				return err
			}
		}
	}
	if err := s.setJob(ctx, s.walkedMark(), j); err != nil {
		return err
	}
	if err := s.Store.SetMark(ctx, s.walkMark(), nil); err != nil {
		return err
	}
	if reason != nil {
		s.Log.Info("reading from the sender's API ended early", "kind", j.Kind, "reason", j.Error)
		return nil
	}
	if j.Why == "silence" && j.Counts.Accepted > 0 {
		s.Log.Warn("the source is silent, and yet the sender had changes: no webhook brought them", "citizens", j.Counts.Accepted)
	}
	s.Log.Info("read from the sender's API", "kind", j.Kind, "why", j.Why, "citizens", j.Cursor.Read, "accepted", j.Counts.Accepted,
		"unchanged", j.Counts.Unchanged, "superseded", j.Counts.Superseded, "quarantined", j.Counts.Quarantined,
		"duration", time.Since(j.Started).Round(time.Millisecond))
	return nil
}
