package cpm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/consentd/consentd/sdk/httpclient"
)

// Option is what an option id means: whose which data may be used by whom and for what.
type Option struct {
	ID      string `json:"id"`
	Data    string `json:"data,omitempty"`
	Purpose string `json:"purpose,omitempty"`
	Party   string `json:"party,omitempty"`
}

// Label is the option in one line.
func (o Option) Label() string {
	return strings.Join(slices.DeleteFunc([]string{o.Purpose, o.Data, o.Party}, func(s string) bool { return s == "" }), " · ")
}

// Options reads what the application's option ids mean, in the order of the ids.
func (c *Client) Options(ctx context.Context) ([]Option, error) {
	a, err := c.do(ctx, httpclient.Request{Method: http.MethodGet, Path: c.Paths.Configuration, Query: c.query()})
	if err != nil {
		return nil, err
	}
	type named struct{ ID, Name string }
	var in struct {
		Data, Purposes, Parties []named
		Options                 []struct{ ID, DataID, PurposeID, PartyID string }
	}
	if json.Unmarshal(a.Body, &in) != nil || in.Options == nil {
		return nil, errors.New("read " + c.Paths.Configuration + " of the sender's API: it has no list of options")
	}
	name := func(of []named, id string) string {
		for _, n := range of {
			if n.ID == id {
				return n.Name
			}
		}
		return ""
	}
	var all []Option
	for _, o := range in.Options {
		all = append(all, Option{o.ID, name(in.Data, o.DataID), name(in.Purposes, o.PurposeID), name(in.Parties, o.PartyID)})
	}
	slices.SortFunc(all, func(a, b Option) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
