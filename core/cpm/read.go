package cpm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/consentd/consentd/sdk/httpclient"
)

// Window is a stretch of time in which citizens were updated: from Since, which is in it, to Before, which is not.
// A zero Since is the beginning.
type Window struct{ Since, Before time.Time }

// Page is part of what a window holds.
type Page struct {
	// Bodies are messages as a webhook would bring them, one a citizen: what the API says of them, with the instant of
	// the request as sentAt.
	Bodies [][]byte
	// Total is how many citizens the window holds; negative where the API does not say.
	Total int
	// AsOf is what sentAt says.
	AsOf time.Time
}

// Page reads part of a window, from a number of citizens on. Counting them takes the sender long, so it is only done
// when asked for.
func (c *Client) Page(ctx context.Context, w Window, offset int, total bool) (Page, error) {
	q := c.query()
	if !w.Since.IsZero() {
		q.Set(c.Params.Since, w.Since.UTC().Format(instantForm))
	}
	if !w.Before.IsZero() {
		q.Set(c.Params.Before, w.Before.UTC().Format(instantForm))
	}
	q.Set(c.Params.Limit, strconv.Itoa(c.PageSize))
	q.Set(c.Params.Offset, strconv.Itoa(offset))
	q.Set(c.Params.IncludeTotal, strconv.FormatBool(total))
	return c.page(ctx, c.Paths.Effective, q)
}

// instantForm is how the sender writes its own defaults.
const instantForm = "2006-01-02T15:04:05.000Z07:00"

// OfRef reads the citizens of an external reference.
func (c *Client) OfRef(ctx context.Context, ref string) (Page, error) {
	q := c.query()
	q.Set(c.Params.ExternalRef, ref)
	return c.page(ctx, c.Paths.Effective, q)
}

func (c *Client) page(ctx context.Context, path string, q url.Values) (Page, error) {
	a, err := c.do(ctx, httpclient.Request{Method: http.MethodGet, Path: path, Query: q})
	if err != nil {
		return Page{}, err
	}
	items, total, err := list(a.Body)
	if err != nil {
		return Page{}, fmt.Errorf("read %s of the sender's API: %w", path, err)
	}
	p := Page{Total: total, AsOf: a.asOf}
	for _, item := range items {
		body, err := c.message(item, a.asOf, "", "")
		if err != nil {
			return Page{}, fmt.Errorf("read %s of the sender's API: %w", path, err)
		}
		p.Bodies = append(p.Bodies, body)
	}
	return p, nil
}

// Citizen reads what one citizen allows, as a message that a webhook would bring. By the citizen's id
// alone the API may tell of permissions only. ErrNobody says that nobody is known by that id.
func (c *Client) Citizen(ctx context.Context, id, externalRef string) ([]byte, error) {
	if externalRef != "" {
		p, err := c.OfRef(ctx, externalRef)
		if err != nil && !errors.Is(err, ErrRefused) {
			return nil, err
		}
		for _, body := range p.Bodies {
			if text(member(body, "citizenId")) == id {
				return body, nil
			}
		}
	}
	q := c.query()
	q.Set(c.Params.Citizen, id)
	a, err := c.do(ctx, httpclient.Request{Method: http.MethodGet, Path: c.Paths.Permissions, Query: q})
	if a.Response != nil && gone(a.Status) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, err
	}
	object := jsontext.Value(a.Body)
	if items, _, err := list(a.Body); err == nil && len(items) == 1 && member(items[0], "permissions") != nil {
		object = items[0]
	}
	if member(object, "permissions") == nil {
		return nil, fmt.Errorf("read %s of the sender's API: it has no permissions", c.Paths.Permissions)
	}
	return c.message(object, a.asOf, id, externalRef)
}

// Exists is whether the API knows a citizen.
func (c *Client) Exists(ctx context.Context, id string) (bool, error) {
	a, err := c.do(ctx, httpclient.Request{Method: http.MethodGet, Path: c.Paths.Citizens + "/" + url.PathEscape(id), Query: c.query()})
	if a.Response != nil && gone(a.Status) {
		return false, nil
	}
	return err == nil, err
}

func gone(status int) bool { return status == http.StatusNotFound || status == http.StatusGone }

// message makes of what the API says of a citizen what a webhook would say. All that is there stays; ids that are
// not are filled in where they are known.
func (c *Client) message(object jsontext.Value, asOf time.Time, id, externalRef string) ([]byte, error) {
	var fields map[string]jsontext.Value
	if json.Unmarshal(object, &fields) != nil || fields == nil {
		return nil, errors.New("a citizen is no JSON object")
	}
	for name, value := range map[string]string{"applicationId": c.Application, "citizenId": id, "externalRef": externalRef} {
		if fields[name] == nil && value != "" {
			fields[name], _ = jsontext.AppendQuote(nil, value)
		}
	}
	fields["sentAt"], _ = jsontext.AppendQuote(nil, asOf.Format(time.RFC3339Nano))
	return json.Marshal(fields, json.Deterministic(true))
}

// list finds the list in an answer: the answer itself, or the one member that is a list of objects or empty. The total
// is a number beside it.
func list(body []byte) (items []jsontext.Value, total int, err error) {
	if json.Unmarshal(body, &items) == nil && items != nil {
		return items, -1, nil
	}
	var fields map[string]jsontext.Value
	if json.Unmarshal(body, &fields) != nil {
		return nil, -1, errors.New("the answer is not the JSON it should be")
	}
	total, found := -1, false
	for name, value := range fields {
		var some []jsontext.Value
		var n int
		switch value.Kind() {
		case '[':
			if json.Unmarshal(value, &some) != nil || len(some) > 0 && some[0].Kind() != '{' {
				continue
			}
			if found {
				return nil, -1, errors.New("the answer has more than one list")
			}
			items, found = some, true
		case '0':
			if totals[name] && json.Unmarshal(value, &n) == nil {
				total = n
			}
		}
	}
	if !found {
		return nil, -1, errors.New("the answer has no list")
	}
	return items, total, nil
}

// totals are names by which an answer may tell how many there are.
var totals = map[string]bool{"total": true, "totalCount": true, "totalItems": true, "totalResults": true}

// member is a field of an object as it is written; nil when it is absent or null.
func member(object []byte, name string) jsontext.Value {
	var fields map[string]jsontext.Value
	if json.Unmarshal(object, &fields) != nil || fields[name].Kind() == 'n' {
		return nil
	}
	return fields[name]
}

// Tells is whether a message has a field at all, and it is not null.
func Tells(body []byte, field string) bool { return member(body, field) != nil }

// text is a string, or a number as it is written.
func text(v jsontext.Value) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

// Clock is what the sender's clock says, or a little less. It asks for nobody.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	now := c.now()
	p, err := c.Page(ctx, Window{now, now.Add(time.Second)}, 0, false)
	return p.AsOf.Truncate(time.Millisecond), err
}
