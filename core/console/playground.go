package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/consentd/consentd/core/admin"
)

type playData struct {
	Source  string
	Update  string
	LookUp  bool
	Played  bool
	Outcome admin.Explanation
	Problem string
}

func (c *Console) playground(q *request) (*view, error) {
	v, err := c.page(q, "playground", "Playground", nil)
	if err != nil {
		return nil, err
	}
	d := playData{Update: example(v.Status, v.Now)}
	if len(v.Status.Sources) > 0 {
		d.Source = v.Status.Sources[0].Name
	}
	v.Data, v.Path = d, "/playground"
	return v, nil
}

// play renders a pasted update; nothing is sent and nothing kept.
func (c *Console) play(q *request) (*view, error) {
	if err := q.mayChange(); err != nil {
		return nil, err
	}
	d := playData{Source: q.PostForm.Get("source"), Update: q.PostForm.Get("update"), LookUp: q.PostForm.Get("lookup") != ""}
	var err error
	d.Outcome, err = q.client.Explain(q.Context(), d.Source, []byte(d.Update), d.LookUp)
	if err != nil {
		d.Problem = err.Error()
	}
	d.Played = err == nil
	return c.page(q, "playground", "Playground", d)
}

// example is an update of an invented citizen that names all options of the configuration.
func example(s admin.Status, now time.Time) string {
	at := now.UTC().Format(time.RFC3339)
	var permissions []string
	for _, o := range s.Options {
		justification := o.Justification
		if justification == "" {
			justification = "consent"
		}
		permissions = append(permissions, fmt.Sprintf(`    {
      "optionType": %q,
      "optionId": %q,
      "justification": %q,
      "state": "GRANTED",
      "recordedAt": %q
    }`, o.Type, o.ID, justification, at))
	}
	application := "playground"
	if len(s.Sources) > 0 && s.Sources[0].ApplicationID != "" {
		application = s.Sources[0].ApplicationID
	}
	return fmt.Sprintf(`{
  "applicationId": %q,
  "citizenId": "an-invented-citizen",
  "externalRef": "somebody@example.org",
  "permissions": [
%s
  ],
  "preferences": [],
  "sentAt": %q
}`, application, strings.Join(permissions, ",\n"), at)
}

func (c *Console) receipts(q *request) (*view, error) {
	v, err := c.page(q, "receipts", "Receipts", nil)
	if err == nil {
		v.Path = "/receipts"
	}
	return v, err
}

// verifyReceipts reads every receipt, which may take a while.
func (c *Console) verifyReceipts(q *request) (*view, error) {
	began := time.Now()
	chain, err := q.client.VerifyReceipts(q.Context())
	if err != nil {
		return nil, err
	}
	return c.page(q, "receipts", "Receipts", verified{chain, time.Since(began).Seconds()})
}

type verified struct {
	admin.Chain
	Took float64 // seconds
}
