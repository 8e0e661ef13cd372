package repair

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// The marks of a source. What one who is at it writes is the walk under way, which is kept after every page, and the last
// one that ended. Anybody asks for a walk, has one stopped, and notes when a webhook was heard, each in a mark of its
// own, so that none of them is written over by a page that is read meanwhile.
func (s *Source) walkMark() string     { return "walk " + s.name }
func (s *Source) walkedMark() string   { return "walked " + s.name }
func (s *Source) askedMark() string    { return "asked " + s.name }
func (s *Source) stopMark() string     { return "stop " + s.name }
func (s *Source) heardMark() string    { return "heard " + s.name }
func (s *Source) repairedMark() string { return "repaired " + s.name }

// job is the walk that a mark has; nil if there is none.
func (s *Source) job(ctx context.Context, mark string) (*job, error) {
	value, err := s.Store.Mark(ctx, mark)
	if err != nil || value == nil {
		return nil, err
	}
	var j job
	if json.Unmarshal(value, &j) != nil {
		return nil, errors.Join(errors.New("what was kept of a backfill cannot be read, and it is given up; begin it again"), s.Store.SetMark(ctx, mark, nil))
	}
	return &j, nil
}

func (s *Source) setJob(ctx context.Context, mark string, j job) error {
	value, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return s.Store.SetMark(ctx, mark, value)
}

// keep keeps how far a walk is.
func (s *Source) keep(ctx context.Context, j job) error {
	if err := s.still(ctx, j); err != nil {
		return err
	}
	return s.setJob(ctx, s.walkMark(), j)
}

// still is errElsewhere if a walk is not under way any more. Who stood still for long may find that another replica has
// ended it, and is not to begin it anew.
func (s *Source) still(ctx context.Context, j job) error {
	is, err := s.job(ctx, s.walkMark())
	if err == nil && (is == nil || !is.Started.Equal(j.Started)) {
		err = errElsewhere
	}
	return err
}

// underWay is the walk that is under way or was asked for; nil if none is. What was asked for is looked at first: its
// mark is dropped when that of the walk is there.
func (s *Source) underWay(ctx context.Context) (*job, error) {
	for _, mark := range []string{s.askedMark(), s.walkMark()} {
		if j, err := s.job(ctx, mark); j != nil || err != nil {
			return j, err
		}
	}
	return nil, nil
}

// taken drops the mark of what was asked for, once that is a walk.
func (s *Source) taken(ctx context.Context, j job) error {
	asked, err := s.job(ctx, s.askedMark())
	if err != nil || asked == nil || !asked.Started.Equal(j.Started) {
		return err
	}
	return s.Store.SetMark(ctx, s.askedMark(), nil)
}

var errStopped = errors.New("stopped")

// stopped is errStopped if the walk that started then is to be given up. The mark names it by that, so it need not be
// dropped.
func (s *Source) stopped(ctx context.Context, started time.Time) error {
	value, err := s.Store.Mark(ctx, s.stopMark())
	if err == nil && string(value) == instant(started) {
		err = errStopped
	}
	return err
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// time is the instant that a mark has; zero if it was never noted, or cannot be read: then it is noted anew.
func (s *Source) time(ctx context.Context, mark string) (time.Time, error) {
	value, err := s.Store.Mark(ctx, mark)
	if err != nil || value == nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(value))
	if err != nil {
		return time.Time{}, nil
	}
	return t, nil
}

// repaired is the instant on the sender's clock until which everything is known; zero if that was never noted.
func (s *Source) repaired(ctx context.Context) (time.Time, error) {
	t, err := s.time(ctx, s.repairedMark())
	if !t.IsZero() {
		s.Metrics.repaired(s.name, t)
	}
	return t, err
}

func (s *Source) setRepaired(ctx context.Context, t time.Time) error {
	s.Metrics.repaired(s.name, t)
	return s.Store.SetMark(ctx, s.repairedMark(), []byte(instant(t)))
}
