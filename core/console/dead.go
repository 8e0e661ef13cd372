package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/store"
)

// perPage is how many entries a list has.
const perPage = 50

type deadData struct {
	Letters        []admin.DeadLetter
	Target, Reason string
	Targets        []string
	Reasons        []string
	First          bool
	Next           string // query of the page that follows
}

// dead lists dead letters without who they are of.
func (c *Console) dead(q *request) (*view, error) {
	query := q.URL.Query()
	d := deadData{
		Target: query.Get("target"), Reason: query.Get("reason"), First: query.Get("after") == "",
		Reasons: []string{store.ReasonRule, store.ReasonRejected, store.ReasonCrash, store.ReasonExhausted},
	}
	after, _ := strconv.ParseInt(query.Get("after"), 10, 64) // what is no number is the first page
	page, err := q.client.Dead(q.Context(), admin.DeadSelection{Target: d.Target, Reason: d.Reason}, after, perPage)
	if err != nil {
		return nil, err
	}
	d.Letters = page.Dead
	for i := range d.Letters {
		d.Letters[i].CitizenID = ""
	}
	if page.Next != 0 {
		next := url.Values{"after": {strconv.FormatInt(page.Next, 10)}, "target": {d.Target}, "reason": {d.Reason}}
		d.Next = next.Encode()
	}
	v, err := c.page(q, "dead", "Dead letters", nil)
	if err != nil {
		return nil, err
	}
	for _, t := range v.Status.Targets {
		d.Targets = append(d.Targets, t.Name)
	}
	v.Data, v.Path = d, "/dead"
	return v, nil
}

// changeDead replays or discards what is ticked, or opens the page of whom one is of.
func (c *Console) changeDead(q *request) (*view, error) {
	if err := q.mayChange(); err != nil {
		return nil, err
	}
	verb := q.PathValue("verb")
	keep := url.Values{"target": q.PostForm["target"], "reason": q.PostForm["reason"]}
	ids := q.PostForm["id"]
	if one := q.PostForm.Get("one"); one != "" {
		ids = []string{one}
	}
	if len(ids) == 0 {
		done(q, "/dead", "none", 0, keep)
		return nil, nil
	}
	change, what := q.client.ReplayDead, "replayed"
	switch verb {
	case "replay":
	case "discard":
		change, what = q.client.DiscardDead, "discarded"
		v, yes, err := c.confirmed(q, question{
			Text: "Discard " + plural(len(ids), "dead letter", "dead letters") + "? The target keeps what it holds, until a newer update comes.",
			Verb: "Discard", Word: "yes", Back: "/dead",
		})
		if !yes {
			return v, err
		}
	case "citizen":
		return c.citizenOfDead(q, ids[0])
	default:
		return nil, errNoPage
	}
	n, err := each(q.Context(), ids, change)
	if err != nil {
		return nil, err
	}
	done(q, "/dead", what, n, keep)
	return nil, nil
}

// each changes the dead letters of all ids, or none when one of them is no id.
func each(ctx context.Context, texts []string, change func(context.Context, admin.DeadSelection, int64, int) (admin.Changed, error)) (int, error) {
	var ids []int64
	for _, text := range texts {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			return 0, errNoPage
		}
		ids = append(ids, id)
	}
	n := 0
	for _, id := range ids {
		changed, err := change(ctx, admin.DeadSelection{ID: id}, 0, 1)
		if err != nil {
			return n, err
		}
		n += changed.Changed
	}
	return n, nil
}

func (c *Console) citizenOfDead(q *request, text string) (*view, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return nil, errNoPage
	}
	page, err := q.client.Dead(q.Context(), admin.DeadSelection{ID: id}, 0, 1)
	if err != nil {
		return nil, err
	}
	if len(page.Dead) == 0 {
		return nil, &admin.RefusedError{Status: http.StatusNotFound, Text: "this delivery is no dead letter any more"}
	}
	c.open(q, page.Dead[0].Source, page.Dead[0].CitizenID)
	return nil, nil
}
