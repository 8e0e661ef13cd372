package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/consentd/consentd/core/admin"
)

func (c *Console) citizens(q *request) (*view, error) {
	v, err := c.page(q, "citizens", "Citizens", nil)
	if err == nil {
		v.Path = "/citizens"
	}
	return v, err
}

// findCitizen takes the id by POST, so that it gets into no URL, history or log.
func (c *Console) findCitizen(q *request) (*view, error) {
	if err := q.mayChange(); err != nil {
		return nil, err
	}
	source, id := q.PostForm.Get("source"), strings.TrimSpace(q.PostForm.Get("citizen"))
	if source == "" || id == "" {
		return nil, &admin.RefusedError{Status: http.StatusBadRequest, Text: "choose a source and write the sender's id of the citizen"}
	}
	_, err := q.client.Citizen(q.Context(), source, id)
	if refused, is := err.(*admin.RefusedError); is && refused.Status == http.StatusNotFound {
		v, err := c.page(q, "citizens", "Citizens", "Nothing is known of a citizen with this id in this source. Ids are the sender's own, as in citizenId.")
		if err == nil {
			v.code = http.StatusNotFound
		}
		return v, err
	}
	if err != nil {
		return nil, err
	}
	c.open(q, source, id)
	return nil, nil
}

// open sends the browser to the page of a citizen, whose address says nothing of them.
func (c *Console) open(q *request, source, id string) {
	handle := c.people.add(person{q.who.session, source, id})
	http.Redirect(q.w, q.Request, "/citizens/"+handle, http.StatusSeeOther)
}

type citizenData struct {
	Handle string
	// Shown is whether personal values are asked for.
	Shown bool
	admin.Citizen
	Permissions []permission
	Held        []permission
	Timeline    []event
}

// permission is one with the name that the configuration gives it, and why it counts or does not.
type permission struct {
	admin.Permission
	Name, Why string
}

// event is one line of what happened to a citizen.
type event struct {
	At         time.Time
	Tone, What string
	Target     string
	Withdrawal bool
	Receipt    *admin.Receipt
}

func (c *Console) person(q *request) (person, error) {
	p, ok := c.people.get(q.PathValue("handle"))
	if !ok || p.session != q.who.session {
		return p, &admin.RefusedError{Status: http.StatusNotFound, Text: "the address of this citizen's page has ended: find them again under Citizens"}
	}
	return p, q.mayChange()
}

func (c *Console) citizen(q *request) (*view, error) {
	return c.showCitizen(q, false)
}

func (c *Console) showCitizen(q *request, shown bool) (*view, error) {
	p, err := c.person(q)
	if err != nil {
		return nil, err
	}
	known, err := q.client.Citizen(q.Context(), p.source, p.id)
	if err != nil {
		return nil, err
	}
	receipts, err := q.client.Receipts(q.Context(), p.source, p.id, "", "", 0, 1000)
	if err != nil {
		return nil, err
	}
	v, err := c.page(q, "citizen", "Citizen", nil)
	if err != nil {
		return nil, err
	}
	d := citizenData{
		Handle: q.PathValue("handle"), Shown: shown, Citizen: known, Timeline: timeline(known, receipts.Receipts),
		Permissions: named(known.Permissions, v.Status.Options, v.Now), Held: named(known.Held, v.Status.Options, v.Now),
	}
	if !shown {
		d.hide()
	} else {
		v.Title = "Citizen, with personal values"
	}
	v.Data, v.Path = d, "/citizens/"+d.Handle
	return v, nil
}

// hide takes out what tells who it is and what they like.
func (d *citizenData) hide() {
	d.CitizenID, d.ExternalRef = "", ""
	for i := range d.Preferences {
		d.Preferences[i].Choices = nil
	}
	for i := range d.Timeline {
		if r := d.Timeline[i].Receipt; r != nil {
			r.Reference, r.Transactions, r.Digest = "", nil, ""
		}
	}
}

func named(all []admin.Permission, options []admin.Option, now time.Time) []permission {
	var out []permission
	for _, p := range all {
		n := permission{Permission: p, Why: why(p, now)}
		for _, o := range options {
			if o.ID == p.OptionID && o.Type == p.OptionType && (o.Justification == "" || o.Justification == p.Justification) {
				n.Name = o.Name
			}
		}
		out = append(out, n)
	}
	return out
}

// why says what decides whether a permission is allowed.
func why(p admin.Permission, now time.Time) string {
	switch {
	case p.State == "":
		return "nothing is recorded any more"
	case p.State != "GRANTED" && p.State != "CLAIMED":
		return "only GRANTED and CLAIMED count as given"
	case p.ValidFrom != nil && now.Before(*p.ValidFrom):
		return "it begins " + until(p.ValidFrom, now)
	case p.ValidUntil != nil && !now.Before(*p.ValidUntil):
		return "it ended " + ago(p.ValidUntil, now)
	case p.ValidUntil != nil:
		return "given, and ends " + until(p.ValidUntil, now)
	}
	return "given, with no end"
}

// timeline is what is known to have happened, the newest first.
func timeline(c admin.Citizen, receipts []admin.Receipt) []event {
	all := []event{
		{At: c.SentAt, Tone: "idle", What: "The sender sent the newest state."},
		{At: c.Received, Tone: "idle", What: "The newest state came in and was committed."},
	}
	if c.Evidence != nil {
		all = append(all, event{At: *c.Evidence, Tone: "idle", What: "The newest evidence in it was recorded."})
	}
	for _, r := range receipts {
		what := "confirmed version " + count(r.Version) + "."
		all = append(all, event{At: r.Confirmed, Tone: "ok", What: what, Target: r.Target, Withdrawal: r.Withdrawal, Receipt: &r})
	}
	for _, d := range c.Deliveries {
		if d.SettledAt == nil || d.Status == "settled" && d.Outcome != "unchanged" && d.Outcome != "" {
			continue // its receipt tells
		}
		e := event{At: *d.SettledAt, Tone: toneOf(d.Status), Target: d.Target, Withdrawal: d.Withdrawal}
		switch {
		case d.Status == "dead":
			e.What = "got nothing: the delivery of rule " + d.Rule + " stopped, " + d.Reason + "."
		case d.Status == "pending":
			e.What = "did not take what rule " + d.Rule + " made; it is tried again."
		case d.Outcome == "unchanged":
			e.What = "holds already what rule " + d.Rule + " made."
		default:
			e.What = "got nothing: rule " + d.Rule + " had nothing to send, or its delivery was discarded."
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Or(b.At.Compare(a.At)) })
	return all[:min(len(all), 50)]
}

func (c *Console) changeCitizen(q *request) (*view, error) {
	p, err := c.person(q)
	if err != nil {
		return nil, err
	}
	page := "/citizens/" + q.PathValue("handle")
	switch q.PathValue("verb") {
	case "reveal":
		c.Log.Info("citizen shown", "source", p.source)
		return c.showCitizen(q, true)
	case "release":
		v, yes, err := c.confirmed(q, question{
			Text: "Let the held grants through? Their evidence is older than what was known, so be sure that the citizen meant them.",
			Verb: "Release", Word: "yes", Back: page,
		})
		if !yes {
			return v, err
		}
		if err := q.client.ReleaseHeld(q.Context(), p.source, p.id); err != nil {
			return nil, err
		}
		done(q, page, "released", 1, nil)
	case "resync":
		r, err := q.client.ResyncCitizen(q.Context(), p.source, p.id, "")
		if err != nil {
			return nil, err
		}
		done(q, page, "resynced", r.Changed, nil)
	case "replay":
		n, err := each(q.Context(), q.PostForm["id"], q.client.ReplayDead)
		if err != nil {
			return nil, err
		}
		done(q, page, "replayed", n, nil)
	case "erase":
		v, yes, err := c.confirmed(q, question{
			Text: "Erase this citizen? All that is known of them goes, for good, and targets that erase are asked to forget them too. " +
				"Late updates will not bring them back. Type erase to go on.",
			Verb: "Erase", Word: "erase", Back: page,
		})
		if !yes {
			return v, err
		}
		erased, err := q.client.Erase(q.Context(), p.source, p.id)
		if err != nil {
			return nil, err
		}
		c.people.remove(q.PathValue("handle"))
		what := "erased"
		if len(erased.Asked) == 0 {
			what = "erased-here"
		}
		done(q, "/citizens", what, len(erased.Asked), nil)
	default:
		return nil, errNoPage
	}
	return nil, nil
}
