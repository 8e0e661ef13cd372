package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// fuseWindow is the time within which a target's grants are counted.
const fuseWindow = time.Hour

// fuse holds a target's grants back once more of them than it stands were let through within an hour. What it counts
// are deliveries, each once however often it is tried. That it has blown, and what was let through, is in the store, so that a
// restart neither mends it nor lets as many through again; where replicas share the store, it is counted there.
type fuse struct {
	most int // 0: there is none
	log  hclog.Logger

	mu     sync.Mutex
	loaded bool
	blown  time.Time
	// let are the grants let through within the window by their delivery's ID, and order the same, oldest first. One that
	// was let through anew stands in order more than once.
	let   map[int64]grant
	order []grant
}

type grant struct {
	id int64
	at time.Time
	// version is what was granted; 0 when a process before did.
	version int64
}

// shared is a store in which the grants of all replicas are counted: see postgres.Store.Grant.
type shared interface {
	Grant(ctx context.Context, target string, claims []store.Claimed, since time.Time, most int) (let map[int64]bool, err error)
}

// throughFuse has the fuse say of everything that would grant whether it may go.
func (g *Group) throughFuse(ctx context.Context, all []*rendering, now time.Time) {
	counter, isShared := g.store.(shared)
	var asked []*rendering
	var claims []store.Claimed
	for _, r := range all {
		switch {
		case !r.grants:
		case !isShared:
			may, first := g.fuse.take(r.claim.ID, r.claim.Desired, now)
			r.held, r.granted = !may, first
		case !g.fuse.has(r.claim.ID, r.claim.Desired, now):
			asked, claims = append(asked, r), append(claims, r.claim)
		}
	}
	if len(asked) == 0 {
		return
	}
	let, err := counter.Grant(ctx, g.target.Name, claims, now.Add(-fuseWindow), g.fuse.most)
	if err != nil {
		g.pause(StoreState, 0, "count grants: "+err.Error())
	}
	for _, r := range asked {
		first, may := let[r.claim.ID]
		switch {
		case err != nil:
			r.unanswered = true
		case may:
			g.fuse.note(grant{r.claim.ID, now, r.claim.Desired})
		}
		r.held, r.granted = err == nil && !may, first
	}
}

// has is whether a grant was let through here before, so that it is not asked about again.
func (f *fuse) has(id, version int64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(now)
	before, let := f.let[id]
	return let && before.version == version
}

// note notes what the store let through.
func (f *fuse) note(g grant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enter(g)
}

// take is whether a grant may go now. first is whether it counts only from now on.
func (f *fuse) take(id, version int64, now time.Time) (may, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(now)
	switch before, counted := f.let[id]; {
	case counted && before.version == version:
		return true, false
	case !f.blown.IsZero():
		return false, false
	case counted:
		f.let[id] = grant{id, before.at, version}
		return true, false
	case len(f.let) >= f.most:
		f.blow(now)
		return false, false
	}
	f.enter(grant{id, now, version})
	return true, true
}

// giveBack takes out what was not sent after all.
func (f *fuse) giveBack(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.let, id)
}

// held notes that the store knows of it as well.
func (f *fuse) held(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blow(now)
}

// blow blows the fuse and says so once. The caller holds the mutex.
func (f *fuse) blow(now time.Time) {
	if f.blown.IsZero() {
		f.blown = now
		f.log.Error("fuse blown: as many grants as max_grants went to the target within an hour; further grants are held, withdrawals go on. "+
			"Look at what grants so much, then let it through with `consentd target release` or mend the rules and reload", "max_grants", f.most)
	}
}

func (f *fuse) enter(g grant) {
	f.let[g.id] = g
	f.order = append(f.order, g)
}

// forget drops what is out of the window. The caller holds the mutex.
func (f *fuse) forget(now time.Time) {
	n := 0
	for n < len(f.order) && now.Sub(f.order[n].at) >= fuseWindow {
		if g := f.order[n]; f.let[g.id].at.Equal(g.at) {
			delete(f.let, g.id)
		}
		n++
	}
	f.order = slices.Delete(f.order, 0, n)
}

// FollowFuse notes what became of the fuse at other replicas. What goes does not depend on it: that the store says.
func (g *Group) FollowFuse(ctx context.Context) error {
	f := &g.fuse
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, isShared := g.store.(shared); !isShared || !f.loaded || f.most == 0 {
		return nil
	}
	all, err := g.store.Fuses(ctx)
	if err != nil {
		return err
	}
	switch was, is := f.blown, all[g.target.Name].Blown; {
	case was.IsZero() && !is.IsZero():
		f.blown = is
		f.log.Warn("fuse has blown at another replica: grants are held, withdrawals go on", "since", is)
	case !was.IsZero() && is.IsZero():
		f.blown = is
		f.log.Info("fuse was released at another replica")
	}
	return nil
}

// load takes from the store how the fuse stands, once; a fuse that is not loaded lets nothing through.
func (g *Group) loadFuse(ctx context.Context, now time.Time) error {
	f := &g.fuse
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded {
		return nil
	}
	if err := f.read(ctx, g.store, g.target.Name, now); err != nil {
		return err
	}
	// The rules may have changed, or the fuse: what it holds is judged anew.
	var err error
	if f.most > 0 {
		_, err = g.store.RetryFuse(ctx, g.target.Name, now)
	} else if !f.blown.IsZero() {
		_, err = g.store.ReleaseFuse(ctx, g.target.Name, now)
		f.blown = time.Time{}
	}
	f.loaded = err == nil
	if !f.blown.IsZero() {
		f.log.Warn("fuse is blown still: grants are held, withdrawals go on", "since", f.blown)
	}
	return err
}

// read takes from the store what counts. The caller holds the mutex.
func (f *fuse) read(ctx context.Context, s store.Store, target string, now time.Time) error {
	all, err := s.Fuses(ctx)
	if err != nil {
		return err
	}
	is := all[target]
	f.blown, f.let, f.order = is.Blown, map[int64]grant{}, nil
	if _, isShared := s.(shared); isShared || f.most == 0 {
		return nil
	}
	since := now.Add(-fuseWindow)
	if is.Released.After(since) {
		since = is.Released
	}
	granted, err := s.Granted(ctx, target, since)
	if err != nil {
		return err
	}
	for id, at := range granted {
		f.enter(grant{id: id, at: at})
	}
	slices.SortFunc(f.order, func(a, b grant) int { return a.at.Compare(b.at) })
	return nil
}

// ReleaseFuse makes the target's fuse whole, lets through what it holds, whatever that is worth, and says how many
// deliveries that are. What counts for the fuse from now on begins anew.
func (g *Group) ReleaseFuse(ctx context.Context) (int, error) {
	n, err := g.store.ReleaseFuse(ctx, g.target.Name, time.Now())
	if err != nil {
		return n, err
	}
	// Under the mutex, so that what is held meanwhile is either in what is read or notes itself afterwards.
	g.fuse.mu.Lock()
	defer g.fuse.mu.Unlock()
	if err := g.fuse.read(ctx, g.store, g.target.Name, time.Now()); err != nil {
		return n, err
	}
	g.log.Warn("fuse released by an operator: what it held is let through", "deliveries", n)
	return n, nil
}

// Blown is since when the target's fuse is; zero if it is whole or there is none.
func (g *Group) Blown() time.Time {
	g.fuse.mu.Lock()
	defer g.fuse.mu.Unlock()
	return g.fuse.blown
}

// hold leaves a delivery pending until its target's fuse is released. That is no attempt, and no time passes for
// it; a dead letter that was tried again and would grant waits with the others.
func (g *Group) hold(c store.Claimed, now time.Time) store.Settlement {
	return store.Settlement{
		Claim: c, At: now, Status: store.Pending, Outcome: sdk.KindRetry.String(), Reason: store.ReasonFuse,
		Error:    "the target's fuse has blown: it would grant",
		Attempts: c.Attempts, Crashes: c.Crashes, Digest: c.Digest,
	}
}
