package console

import (
	"fmt"

	"github.com/consentd/consentd/core/admin"
)

// changeTarget pauses a target, lets it go on, sends it everything again, or releases its fuse.
func (c *Console) changeTarget(q *request) (*view, error) {
	if err := q.mayChange(); err != nil {
		return nil, err
	}
	name, verb := q.PathValue("name"), q.PathValue("verb")
	page := "/targets/" + name
	ask, known := targetQuestions[verb]
	if !known {
		return nil, errNoPage
	}
	if ask.Text != "" {
		ask.Text, ask.Back = fmt.Sprintf(ask.Text, name), page
		if v, yes, err := c.confirmed(q, ask); !yes {
			return v, err
		}
	}
	var n int
	var err error
	switch verb {
	case "pause":
		_, err = q.client.PauseTarget(q.Context(), name, "")
	case "resume":
		_, err = q.client.ResumeTarget(q.Context(), name)
	case "release":
		var held admin.Changed
		held, err = q.client.ReleaseFuse(q.Context(), name)
		n = held.Changed
	case "resync":
		for after := int64(-1); after != 0 && err == nil; {
			var r admin.Resynced
			r, err = q.client.ResyncTarget(q.Context(), name, max(after, 0))
			n, after = n+r.Changed, r.Next
		}
	}
	if err != nil {
		return nil, err
	}
	done(q, page, "target-"+verb, n, nil)
	return nil, nil
}

// targetQuestions are by verb; what does no harm is not asked. The texts stand in target.html once more, for the dialog.
var targetQuestions = map[string]question{
	"pause":  {Text: "Pause %s? Nothing is sent to it until it is resumed. WITHDRAWALS WAIT AS WELL.", Verb: "Pause", Word: "yes"},
	"resume": {},
	"resync": {Text: "Send %s everything again? Each citizen's newest state is sent under a new id, dead and discarded ones too.", Verb: "Resync", Word: "yes"},
	"release": {Text: "Release the fuse of %s? All the grants that it held go out now, so be sure that they are meant.",
		Verb: "Release", Word: "yes"},
}
