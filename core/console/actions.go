package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// notice is what was just done, told on the page that follows. It travels in the URL as a word and a number,
// so that nobody can put a text of their own on the page.
type notice struct {
	Tone, Text string
}

var notices = map[string]struct{ tone, one, many string }{
	"replayed":       {"ok", "1 dead letter is due now.", "%s dead letters are due now."},
	"discarded":      {"ok", "1 dead letter was discarded.", "%s dead letters were discarded."},
	"none":           {"wait", "Nothing was chosen. Tick what you mean first.", "Nothing was chosen. Tick what you mean first."},
	"accepted":       {"ok", "The body is an accepted update now.", ""},
	"superseded":     {"ok", "The body was understood; something newer was known already.", ""},
	"duplicate":      {"ok", "The body was understood; it is the newest state already.", ""},
	"removed":        {"ok", "The body was discarded.", ""},
	"released":       {"ok", "The held grants went through.", ""},
	"target-pause":   {"wait", "The target is paused: nothing is sent to it, withdrawals wait as well.", ""},
	"target-resume":  {"ok", "The target goes on.", ""},
	"target-resync":  {"ok", "1 delivery is pending again.", "%s deliveries are pending again."},
	"target-release": {"ok", "1 grant that the fuse held goes out.", "%s grants that the fuse held go out."},
	"resynced":       {"ok", "1 delivery is pending again.", "%s deliveries are pending again."},
	"erased":         {"ok", "The citizen was erased.", "The citizen was erased; %s targets were asked to forget them too."},
	"erased-here":    {"wait", "The citizen was erased here. No target was asked to forget them: none of theirs has erase = true.", ""},
}

func noticeOf(q *request) notice {
	if q.Method != http.MethodGet {
		return notice{}
	}
	n, known := notices[q.URL.Query().Get("done")]
	if !known {
		return notice{}
	}
	text := n.one
	if times, err := strconv.Atoi(q.URL.Query().Get("n")); err == nil && times != 1 && n.many != "" {
		text = fmt.Sprintf(n.many, count(times))
	}
	return notice{n.tone, text}
}

// done sends the browser on to a page that tells so.
func done(q *request, path, what string, n int, keep url.Values) {
	values := url.Values{"done": {what}, "n": {strconv.Itoa(n)}}
	for name, all := range keep {
		if len(all) > 0 && all[0] != "" {
			values[name] = all[:1]
		}
	}
	http.Redirect(q.w, q.Request, path+"?"+values.Encode(), http.StatusSeeOther)
}

// question is asked before what cannot be taken back. With script it is asked in a dialog, without on a page of
// its own.
type question struct {
	Text, Verb string
	// Word has to be typed; "yes" is not asked for.
	Word   string
	Action string
	Fields []field
	Back   string
}

type field struct{ Name, Value string }

// confirmed is whether the question was answered; else there is a page that asks it.
func (c *Console) confirmed(q *request, ask question) (*view, bool, error) {
	if q.PostForm.Get("confirmed") == ask.Word {
		return nil, true, nil
	}
	ask.Action = q.URL.Path
	for _, name := range slices.Sorted(maps.Keys(q.PostForm)) {
		for _, value := range q.PostForm[name] {
			if name != "confirmed" {
				ask.Fields = append(ask.Fields, field{name, value})
			}
		}
	}
	v, err := c.page(q, "confirm", ask.Verb, ask)
	return v, false, err
}

// mayChange is an error for whoever may only look.
func (q *request) mayChange() error {
	if !q.who.operator {
		return errForbidden
	}
	return nil
}
