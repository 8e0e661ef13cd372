package console

import (
	"fmt"
	"strconv"

	"github.com/consentd/consentd/core/admin"
)

type quarantineData struct {
	Entries []admin.Quarantined
	First   bool
	Next    int64
}

func (c *Console) quarantine(q *request) (*view, error) {
	text := q.URL.Query().Get("after")
	after, _ := strconv.ParseInt(text, 10, 64) // what is no number is the first page
	page, err := q.client.Quarantine(q.Context(), "", after, perPage)
	if err != nil {
		return nil, err
	}
	v, err := c.page(q, "quarantine", "Quarantine", quarantineData{page.Quarantined, text == "", page.Next})
	if err == nil {
		v.Path = "/quarantine"
	}
	return v, err
}

type quarantinedData struct {
	admin.Quarantined
	Shown bool
}

// quarantined is one entry, with its body only when it was asked for.
func (c *Console) quarantined(q *request) (*view, error) {
	return c.entry(q, false)
}

func (c *Console) entry(q *request, shown bool) (*view, error) {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return nil, errNoPage
	}
	if shown {
		entry, err := q.client.Quarantined(q.Context(), id)
		if err != nil {
			return nil, err
		}
		return c.page(q, "quarantined", fmt.Sprintf("Body %d", id), quarantinedData{entry, true})
	}
	page, err := q.client.Quarantine(q.Context(), "", id-1, 1) // a list has no bodies
	if err != nil {
		return nil, err
	}
	if len(page.Quarantined) == 0 || page.Quarantined[0].ID != id {
		return nil, errNoPage
	}
	return c.page(q, "quarantined", fmt.Sprintf("Body %d", id), quarantinedData{page.Quarantined[0], false})
}

func (c *Console) changeQuarantined(q *request) (*view, error) {
	if err := q.mayChange(); err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return nil, errNoPage
	}
	switch q.PathValue("verb") {
	case "reveal":
		c.Log.Info("quarantined body shown", "id", id)
		return c.entry(q, true)
	case "replay":
		replayed, err := q.client.ReplayQuarantined(q.Context(), id)
		if err != nil {
			return nil, err
		}
		done(q, "/quarantine", replayed.Status, 1, nil)
		return nil, nil
	case "discard":
		v, yes, err := c.confirmed(q, question{
			Text: "Discard this body? It is removed for good, and what it said of its citizen is lost unless the sender says it again.",
			Verb: "Discard", Word: "yes", Back: "/quarantine",
		})
		if !yes {
			return v, err
		}
		if err := q.client.DiscardQuarantined(q.Context(), id); err != nil {
			return nil, err
		}
		done(q, "/quarantine", "removed", 1, nil)
		return nil, nil
	}
	return nil, errNoPage
}
