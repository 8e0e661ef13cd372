package cpm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cursor is how far a walk has come. It may be kept as JSON and gone on from later.
type Cursor struct {
	// Since and Before are what is walked through. Before is in the past, so that nobody enters a window meanwhile.
	Since  time.Time `json:"since"`
	Before time.Time `json:"before"`
	// From is where the window under way begins, To where it ends; zero between two windows.
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
	// Offset is that of the next page of the window.
	Offset int `json:"offset"`
	// Up is whether pages are read upwards, because the API did not say how many there are.
	Up bool `json:"up,omitempty"`
	// Step is how long windows are now.
	Step time.Duration `json:"step"`
	// Read is how many citizens were read, Expected how many the windows so far are to hold.
	Read     int `json:"read"`
	Expected int `json:"expected"`
}

// Part is how much of the whole is done, as far as can be told: by citizens where one window is all, else by time.
func (c Cursor) Part() float64 {
	whole := c.Before.Sub(c.start()).Seconds()
	switch {
	case c.From.IsZero() || whole <= 0:
		return 0
	case !c.To.IsZero() && !c.To.Before(c.Before) && c.Expected > 0:
		return min(1, float64(c.Read)/float64(c.Expected))
	}
	return min(1, c.From.Sub(c.start()).Seconds()/whole)
}

func (c Cursor) start() time.Time {
	if c.Since.IsZero() {
		return time.Unix(0, 0) // the sender's own default
	}
	return c.Since
}

const (
	// leastStep is the shortest window that is asked for.
	leastStep = time.Millisecond
	// leastSlow is the same where the API does not answer at all: then it is hardly the window.
	leastSlow = 30 * 24 * time.Hour
	// upOverlap is the part of a page that is read again when pages are read upwards.
	upOverlap = 4
)

// Walk reads every citizen who was updated in a stretch of time, page by page. Each gets a page and the cursor behind
// it; with a cursor that was kept, a later Walk goes on from there. A citizen may come more than once.
//
// Windows that the API cannot answer in time are halved. In a window the pages are read from the last to the first:
// who is updated meanwhile leaves the window and lets all who come after move up by one, and read downwards that
// lets somebody be read twice where it would otherwise let somebody be missed. Where the API does not say how many
// there are, pages are read upwards and overlap, which does for as long as fewer leave between two pages.
func (c *Client) Walk(ctx context.Context, at Cursor, each func(Page, Cursor) error) error {
	if at.From.IsZero() {
		at.From = at.start()
	}
	if at.Step <= 0 {
		at.Step = at.Before.Sub(at.From)
	}
	for at.From.Before(at.Before) {
		var err error
		if at.To.IsZero() {
			err = c.enter(ctx, &at, each)
		} else {
			err = c.next(ctx, &at, each)
		}
		if !errors.Is(err, ErrTooLarge) {
			if err != nil {
				return err
			}
			continue
		}
		if !at.To.IsZero() {
			at.Step, at.To = at.To.Sub(at.From), time.Time{}
		}
		least := leastStep
		if errors.Is(err, errSlow) {
			least = leastSlow
		}
		if at.Step = min(at.Step, at.Before.Sub(at.From)) / 2; at.Step < least {
			return fmt.Errorf("read a window of %v: %w", 2*at.Step, err)
		}
	}
	return nil
}

// enter begins a window. Most are over with their first page.
func (c *Client) enter(ctx context.Context, at *Cursor, each func(Page, Cursor) error) error {
	to := at.From.Add(at.Step)
	if to.After(at.Before) {
		to = at.Before
	}
	since := at.From
	if at.Since.IsZero() && since.Equal(at.start()) {
		since = time.Time{}
	}
	p, err := c.Page(ctx, Window{since, to}, 0, true)
	if err != nil {
		return err
	}
	switch {
	case p.Total < 0 && len(p.Bodies) == c.PageSize:
		at.To, at.Up, at.Offset = to, true, c.PageSize-c.PageSize/upOverlap
		at.Expected += len(p.Bodies)
	case p.Total > len(p.Bodies):
		// This page is the last one to be read.
		at.To, at.Up, at.Offset = to, false, (p.Total-1)/c.PageSize*c.PageSize
		at.Expected += p.Total
		return each(Page{Total: p.Total, AsOf: p.AsOf}, *at)
	default:
		at.Expected += len(p.Bodies)
		c.leave(at, to)
	}
	at.Read += len(p.Bodies)
	return each(p, *at)
}

// next reads one more page of the window under way.
func (c *Client) next(ctx context.Context, at *Cursor, each func(Page, Cursor) error) error {
	p, err := c.Page(ctx, Window{at.From, at.To}, at.Offset, false)
	if err != nil {
		return err
	}
	to := at.To
	switch {
	case at.Up && len(p.Bodies) < c.PageSize, !at.Up && at.Offset == 0:
		c.leave(at, to)
	case at.Up:
		at.Offset += c.PageSize - c.PageSize/upOverlap
	default:
		at.Offset = max(0, at.Offset-c.PageSize)
	}
	at.Read += len(p.Bodies)
	return each(p, *at)
}

// leave ends a window. The one after may be longer again.
func (c *Client) leave(at *Cursor, to time.Time) {
	at.From, at.To, at.Offset, at.Up = to, time.Time{}, 0, false
	at.Step = 2 * at.Step
}
