package dispatch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/supervise"
	"github.com/consentd/consentd/core/trace"
	"github.com/consentd/consentd/sdk"
)

// rendering is one claimed delivery on its way: what its rule made of the newest state, and what came of it.
type rendering struct {
	claim   store.Claimed
	records []sdk.Record
	// transactions are those that the rule read.
	transactions []string
	// content is the digest of the records, digest that of the records at this very target.
	content, digest []byte
	// outcome is the worst of the records' outcomes once they are in.
	outcome sdk.Outcome
	// ruleErr is set when the rule could not be evaluated.
	ruleErr error
	// crashed is whether the plugin broke with the delivery in flight.
	crashed bool
	// untried is whether it was to be sent and was not, so that no attempt counts; sent is whether it was.
	untried, sent bool
	// unanswered is whether a lookup's answer is not at hand any more.
	unanswered bool
	// grants is whether it is for the target's fuse to say whether it may go; held whether that holds it back, and granted
	// whether it counts for the fuse from this attempt on.
	grants, held, granted bool
	// suspect is whether it was rejected together with everything else in its call.
	suspect bool
	// blameless is whether it failed for a while as everything does at the target.
	blameless bool
}

// batch is what one worker delivers.
type batch struct {
	ctx  context.Context // of its calls
	span trace.Span
	all  []*rendering
	// records are what is to be sent, and owner whose each of them is.
	records []sdk.Record
	owner   []*rendering
}

// render renders claims and takes what is to be sent from the rate.
func (g *Group) render(claims []store.Claimed) *batch {
	now := time.Now()
	b := &batch{all: make([]*rendering, len(claims))}
	b.ctx, b.span = g.target.Trace.Deliver(g.calls, g.target.Name, claims)
	span := g.target.Trace.Render(b.ctx)
	withdrawals := 0
	for i, c := range claims {
		b.all[i] = g.renderOne(c, now)
	}
	g.throughFuse(b.ctx, b.all, now)
	for i, c := range claims {
		r := b.all[i]
		if r.ruleErr != nil || r.unanswered || r.held || len(r.records) == 0 || hmac.Equal(r.digest, c.Digest) {
			continue
		}
		r.untried = true
		for _, rec := range r.records {
			b.records, b.owner = append(b.records, rec), append(b.owner, r)
		}
		if c.Withdrawal {
			withdrawals += len(r.records)
		}
	}
	span.End("rendered", false)
	g.pace.spend(now, withdrawals, len(b.records)-withdrawals)
	return b
}

// renderOne evaluates the delivery's rule over the citizen's newest state.
func (g *Group) renderOne(c store.Claimed, now time.Time) (r *rendering) {
	r = &rendering{claim: c, outcome: sdk.Unchanged()}
	rule := g.target.Rules[c.Rule]
	if rule == nil {
		// The store hands out nothing of rules that are not in force.
		r.ruleErr = fmt.Errorf("there is no rule %q", c.Rule)
		return r
	}
	defer func() {
		if p := recover(); p != nil {
			// The panic's text may hold a value.
			r.ruleErr = fmt.Errorf("rule %q panicked", c.Rule)
		}
	}()
	state, err := stateOf(c)
	if err != nil {
		r.ruleErr = err
		return r
	}
	found, ok := g.target.Lookups.Known(rule.Lookups(c.Source, *state, now), person(c, *state))
	if !ok {
		r.unanswered = true
		return r
	}
	if waits(c.Reason) {
		// What went wrong with the target before that has had its own budget; from here on there is a new one.
		r.claim.Reason, r.claim.FailingSince = "", time.Time{}
	}
	fields, err := rule.Evaluate(c.Source, *state, now, found)
	if err != nil {
		r.ruleErr = err
		return r
	}
	r.transactions = rule.Transactions(*state)
	content := sha256.New()
	seen := map[string]bool{}
	for _, f := range fields {
		content.Write(binary.BigEndian.AppendUint64(nil, uint64(len(f))))
		content.Write(f)
		if id := g.recordID(c, f); !seen[id] {
			seen[id] = true
			r.records = append(r.records, sdk.Record{ID: id, Withdrawal: c.Withdrawal, Fields: f})
		}
	}
	r.content = content.Sum(nil)
	digest := sha256.Sum256(append(r.content[:len(r.content):len(r.content)], g.target.Identity...))
	r.digest = digest[:]
	r.grants = g.fuse.most > 0 && !c.Withdrawal && c.Reason != store.ReasonReleased && !hmac.Equal(r.digest, c.Digest) &&
		rule.Grants(c.Source, *state, now, found, fields)
	return r
}

// stateOf is the citizen's newest state as it was claimed.
func stateOf(c store.Claimed) (*consent.State, error) {
	if c.State != nil {
		return c.State, nil
	}
	decoded, err := consent.Decode(c.Body)
	if err != nil {
		return nil, fmt.Errorf("stored state: %w", err)
	}
	return &decoded, nil
}

// recordID is the same for every try at one version of one delivery with the same content.
func (g *Group) recordID(c store.Claimed, fields json.RawMessage) string {
	mac := hmac.New(sha256.New, g.store.HashKey())
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(c.ID)))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(c.Desired)))
	mac.Write(fields)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// deliver sends the batch in calls of at most so many records, one after the other, and settles what came
// of it. After a call that pauses the target, or in which the plugin broke, the others are not sent; nor while
// an operator holds the target back.
func (g *Group) deliver(ctx context.Context, b *batch, size int) {
	records, owner := b.records, b.owner
	for len(records) > 0 && g.held(time.Now()) == 0 {
		n := min(len(records), size)
		if !g.send(ctx, records[:n], owner[:n]) {
			break
		}
		records, owner = records[n:], owner[n:]
	}
	for _, r := range owner {
		// What is left of a rendering that was sent in part has to come again whole.
		r.outcome = worse(r.outcome, sdk.Retry("", ""))
	}
	g.settle(ctx, b.all)
	b.span.End("settled", false)
}

// send makes one call. It returns false when no other should follow.
func (g *Group) send(ctx context.Context, records []sdk.Record, owner []*rendering) bool {
	callCtx, cancel, held := g.within(ctx, owner)
	if !held {
		g.pause(StoreState, 0, "too little is left of the lease to send anything")
		return false
	}
	start, pauses := time.Now(), g.pauses()
	callCtx, span := g.target.Trace.Call(callCtx, g.target.Name, g.target.Plugin, len(records))
	outcomes, err := g.target.Deliverer.Deliver(callCtx, records)
	span.Answered(outcomes, err)
	cancel()
	g.metrics.call(g.target.Name, time.Since(start))
	if errors.Is(err, supervise.ErrDown) {
		g.down()
		return false
	}
	if err != nil {
		for _, r := range owner {
			r.untried, r.sent, r.crashed = false, true, true
			r.outcome = worse(r.outcome, sdk.Retry("PLUGIN_BROKE", "the plugin broke while it delivered"))
		}
		g.pause(DownState, 0, "the plugin broke while it delivered")
		return false
	}
	worst := sdk.Unchanged()
	for i, r := range owner {
		r.untried, r.sent = false, true
		r.outcome = worse(r.outcome, outcomes[i])
		worst = worse(worst, outcomes[i])
	}
	if rejectedWhole(outcomes) {
		g.suspect(owner)
	}
	g.judge(owner, outcomes)
	if state := pausing(worst.Kind); state != "" {
		g.pause(state, worst.RetryAfter, text(worst))
		return false
	}
	g.resume(pauses)
	return true
}

// badness orders outcomes: of several records of one delivery the worst one speaks for it.
var badness = map[sdk.Kind]int{
	sdk.KindUnchanged: 0, sdk.KindDelivered: 1, sdk.KindAccepted: 2, sdk.KindRejected: 3,
	sdk.KindRetry: 4, sdk.KindThrottled: 5, sdk.KindUnauthorized: 6,
}

func worse(a, b sdk.Outcome) sdk.Outcome {
	if badness[b.Kind] > badness[a.Kind] {
		if b.RetryAfter < a.RetryAfter {
			b.RetryAfter = a.RetryAfter
		}
		return b
	}
	if badness[a.Kind] == badness[b.Kind] {
		a.RetryAfter = max(a.RetryAfter, b.RetryAfter)
		if a.Reference == "" {
			a.Reference = b.Reference
		}
	}
	return a
}

// text is an outcome for a person.
func text(o sdk.Outcome) string {
	switch {
	case o.Code == "":
		return o.Message
	case o.Message == "":
		return o.Code
	}
	return o.Code + ": " + o.Message
}
