package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/theory/jsonpath"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// HTTP asks an HTTP API that answers with JSON.
type HTTP struct {
	// URL begins with fixed text that has the scheme and the whole host.
	URL    URL
	Method string
	Header http.Header
	Auth   httpclient.Auth
	Body   *Expr // sent as JSON; nil: none
}

// maxAnswer is far above what is said of one person.
const maxAnswer = 1 << 20

type httpBackend struct {
	*HTTP
	fields []Field
	client *httpclient.Client
	host   int // how much of the address is scheme and host
}

func openHTTP(c Config, log hclog.Logger) (backend, error) {
	first := c.HTTP.URL[0].Text
	host := strings.Index(first, "://") + len("://")
	if i := strings.IndexAny(first[host:], "/?"); i >= 0 {
		host += i
	} else {
		host = len(first)
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL: first[:host], Auth: c.HTTP.Auth, Header: c.HTTP.Header, MaxInFlight: c.MaxInFlight, MaxAnswer: maxAnswer, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("url %w", err)
	}
	return &httpBackend{c.HTTP, c.Fields, client, host}, nil
}

func (b *httpBackend) close() { b.client.Close() }

// check cannot ask without a person.
func (b *httpBackend) check(context.Context) error { return nil }

func (b *httpBackend) find(ctx context.Context, p Person) (map[string]cty.Value, error) {
	address, err := b.URL.of(p)
	if err != nil {
		return nil, err
	}
	req := httpclient.Request{Method: b.Method, Path: address[b.host:]}
	if b.Body != nil {
		v, err := b.Body.value(p)
		if err != nil {
			return nil, err
		}
		text, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			return nil, errors.New("the body cannot be written as JSON")
		}
		req.Body = json.RawMessage(text)
	}
	res, err := b.client.Do(ctx, req)
	if err != nil {
		return nil, failed(sdk.FromError(err))
	}
	switch {
	case res.Status == http.StatusNotFound || res.Status == http.StatusGone || res.Status == http.StatusNoContent:
		return nil, ErrNobody
	case !res.OK():
		return nil, failed(res.Outcome())
	}
	var doc any
	if err := res.Decode(&doc); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	return pick(doc, b.fields)
}

// failed makes an error of what went wrong with a call: one of the whole system where that is certain.
func failed(o sdk.Outcome) error {
	text := strings.ReplaceAll(o.Message, "the vendor", "it")
	if o.Kind == sdk.KindThrottled || o.Kind == sdk.KindUnauthorized {
		return &outage{text, o.RetryAfter}
	}
	return errors.New(text)
}

// pick reads the fields out of an answer. When none is there, nobody was found.
func pick(doc any, fields []Field) (map[string]cty.Value, error) {
	values, some := map[string]cty.Value{}, false
	for _, f := range fields {
		v, err := fieldOf(f, f.Path.Select(doc))
		if err != nil {
			return nil, err
		}
		values[f.Name] = v
		some = some || !v.IsNull()
	}
	if !some {
		return nil, ErrNobody
	}
	return values, nil
}

var listOfText = cty.List(cty.String)

func fieldOf(f Field, nodes jsonpath.NodeList) (cty.Value, error) {
	found := make([]any, 0, len(nodes))
	for _, n := range nodes {
		if list, ok := n.([]any); ok && f.Type.Equals(listOfText) {
			found = append(found, list...)
		} else {
			found = append(found, n)
		}
	}
	var values []cty.Value
	for _, n := range found {
		t := f.Type
		if t.IsListType() {
			t = t.ElementType()
		}
		v, err := convertTo(t, n)
		if err != nil {
			return cty.NilVal, fmt.Errorf("what it says of %s is no %s", f.Name, f.Type.FriendlyName())
		}
		// An empty string is as good as none, as everywhere in rules.
		if v.IsNull() || v.RawEquals(cty.StringVal("")) || slices.ContainsFunc(values, v.RawEquals) {
			continue
		}
		values = append(values, v)
	}
	switch {
	case f.Type.IsListType() && len(values) > 0:
		return cty.ListVal(values), nil
	case len(values) == 0:
		return cty.NullVal(f.Type), nil
	case len(values) > 1:
		return cty.NilVal, errAmbiguous
	}
	return values[0], nil
}
