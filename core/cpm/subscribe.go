package cpm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/consentd/consentd/sdk/httpclient"
)

// maxSubscriptions bounds how many are looked through.
const maxSubscriptions = 10_000

// Subscriptions lists those of the application.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var all []Subscription
	for len(all) < maxSubscriptions {
		q := c.query()
		q.Set(c.Params.Limit, "100")
		q.Set(c.Params.Offset, strconv.Itoa(len(all)))
		a, err := c.do(ctx, httpclient.Request{Method: http.MethodGet, Path: c.Paths.Subscriptions, Query: q})
		if err != nil {
			return nil, err
		}
		items, _, err := list(a.Body)
		if err != nil {
			return nil, fmt.Errorf("read %s of the sender's API: %w", c.Paths.Subscriptions, err)
		}
		for _, item := range items {
			s, err := subscription(item)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		if len(items) < 100 {
			break
		}
	}
	return all, nil
}

// Subscribe makes a subscription.
func (c *Client) Subscribe(ctx context.Context, s Subscription) (Subscription, error) {
	s.ApplicationID = c.Application
	return c.change(ctx, http.MethodPost, c.Paths.Subscriptions, s)
}

// Resubscribe replaces everything that can be edited of a subscription, which is what PUT is documented to do.
func (c *Client) Resubscribe(ctx context.Context, s Subscription) (Subscription, error) {
	s.ApplicationID = c.Application
	return c.change(ctx, http.MethodPut, c.subscriptionPath(s.ID), s)
}

// SetStatus pauses a subscription or lets it go on.
func (c *Client) SetStatus(ctx context.Context, id, status string) (Subscription, error) {
	return c.change(ctx, http.MethodPatch, c.subscriptionPath(id), map[string]string{"status": status})
}

func (c *Client) subscriptionPath(id string) string {
	return c.Paths.Subscriptions + "/" + url.PathEscape(id)
}

func (c *Client) change(ctx context.Context, method, path string, body any) (Subscription, error) {
	a, err := c.do(ctx, httpclient.Request{Method: method, Path: path, Query: c.query(), Body: body})
	if err != nil {
		return Subscription{}, err
	}
	if len(a.Body) == 0 {
		return Subscription{}, nil // 204: done, and nothing is said of it
	}
	return subscription(a.Body)
}

// subscription reads one; ids may be numbers.
func subscription(body []byte) (Subscription, error) {
	var s struct {
		Subscription
		ID            any `json:"id"`
		ApplicationID any `json:"applicationId"`
	}
	if json.Unmarshal(body, &s) != nil {
		return Subscription{}, errors.New("a subscription of the sender's API is not of the shape it should be")
	}
	s.Subscription.ID, s.Subscription.ApplicationID = text(member(body, "id")), text(member(body, "applicationId"))
	return s.Subscription, nil
}
