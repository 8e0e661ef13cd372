package dispatch

import (
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// eraseEvery is how often a target that erases is looked at for requests. Without one that costs nothing.
const eraseEvery = 250 * time.Millisecond

// erase works off requests to erase, one at a time beside the deliveries, until Drain. None is ever given up:
// each comes again with back-off until the target confirms it.
func (g *Group) erase() {
	for g.stop.Err() == nil {
		err := store.ErrNotFound
		if g.held(time.Now()) == 0 {
			var e store.Erasure
			if e, err = g.store.ClaimErasure(g.stop, g.target.Name, time.Now()); err == nil {
				err = g.eraseOne(e)
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNotFound) && g.stop.Err() == nil {
			g.log.Error("erasure cannot be worked off", "error", err)
		}
		select {
		case <-time.After(eraseEvery):
		case <-g.stop.Done():
		}
	}
}

func (g *Group) eraseOne(e store.Erasure) error {
	outcome := g.eraseRecords(e)
	now := time.Now()
	s := store.ErasureSettlement{Erasure: e, Attempts: e.Attempts + 1}
	if outcome.Kind.Done() {
		s.Receipt = &store.Receipt{
			Rule: e.Rule, Target: e.Target, Received: e.Requested, Confirmed: now, Outcome: "erased",
			Plugin: g.target.Plugin, Config: g.target.ConfigHash,
		}
		g.log.Info("target erased a citizen", "erasure", e.ID, "attempt", s.Attempts)
	} else {
		s.Error = text(outcome)
		s.NextAttempt = now.Add(max(delay(g.target.Retry, e.Attempts), outcome.RetryAfter))
		g.log.Warn("target did not erase a citizen, will be asked again", "erasure", e.ID, "attempt", s.Attempts, "error", s.Error)
	}
	return g.store.SettleErasure(g.stop, s)
}

// eraseRecords asks the plugin, and answers with the worst outcome.
func (g *Group) eraseRecords(e store.Erasure) sdk.Outcome {
	worst := sdk.Unchanged()
	var records []sdk.Record
	for i, fields := range e.Records {
		records = append(records, sdk.Record{ID: fmt.Sprintf("erasure-%d-%d", e.ID, i), Withdrawal: true, Fields: fields})
	}
	for len(records) > 0 {
		n := min(len(records), g.target.MaxBatch)
		ctx, cancel, held := g.within(g.calls, asClaim(e))
		if !held {
			return worse(worst, sdk.Retry("NOT_HELD", "another replica may have taken the request over"))
		}
		outcomes, err := g.target.Erase(ctx, records[:n])
		cancel()
		if err != nil {
			return worse(worst, sdk.Retry("PLUGIN_BROKE", "the plugin does not run, or broke while it erased"))
		}
		for _, o := range outcomes {
			worst = worse(worst, o)
		}
		records = records[n:]
	}
	return worst
}
