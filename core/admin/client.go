package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultAddress is where the admin listener is when nothing else is configured.
const DefaultAddress = "127.0.0.1:8485"

// ErrNotRunning is wrapped when nothing answers at the admin address.
var ErrNotRunning = errors.New("no consentd answers")

// ErrAddress is wrapped when what should be the admin address is none.
var ErrAddress = errors.New("no admin address")

// ErrRefused is wrapped when the daemon understands a request and will not do it: for these, so asked, it never will.
var ErrRefused = errors.New("refused")

// RefusedError is an answer of the daemon that is not 2xx.
type RefusedError struct {
	Status int
	Text   string
}

func (e *RefusedError) Error() string { return e.Text }

func (e *RefusedError) Is(target error) bool {
	return target == ErrRefused && (e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusNotFound)
}

// Client speaks the JSON API.
type Client struct {
	base, token string
	// place is the address for people, err what is wrong with it.
	place string
	err   error
	// certified is whether it shows a certificate.
	certified bool
	http      *http.Client
}

// NewClient makes a client of the daemon at address: host:port, an http or https URL, or unix:///path. The
// token may be empty. With another address, every call fails with ErrAddress.
func NewClient(address, token string) *Client {
	c := &Client{base: address, place: address, token: token, http: &http.Client{Timeout: time.Minute}}
	if path, isUnix := strings.CutPrefix(address, "unix://"); isUnix {
		c.base = "http://localhost"
		c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}
		if !strings.HasPrefix(path, "/") {
			c.err = notAddress(address)
		}
		return c
	}
	if !strings.Contains(address, "://") {
		c.base = "http://" + address
		c.place = c.base
	}
	if !speakable(c.base) || c.base != address && !hasPort(address) {
		c.err = notAddress(address)
	}
	return c
}

// WithTLS sets how the client speaks to an https address. It is called before anything else.
func (c *Client) WithTLS(files TLSFiles) *Client {
	if files == (TLSFiles{}) {
		return c
	}
	conf, err := files.load()
	if err == nil && !strings.HasPrefix(c.base, "https://") {
		err = fmt.Errorf("%q is %w for certificates: write https://host:port, or leave them out", c.place, ErrAddress)
	}
	if err != nil && c.err == nil {
		c.err = err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	c.certified = files.Cert != ""
	c.http.Transport = transport
	return c
}

func speakable(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func hasPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func notAddress(address string) error {
	return fmt.Errorf("%q is %w: write host:port, such as %s, an http or https URL, or a socket, such as unix:///run/consentd/admin.sock", address, ErrAddress, DefaultAddress)
}

// Status asks how the daemon stands.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Reload has the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	err = c.patient().do(ctx, http.MethodPost, "/v1/reload", nil, &r)
	return r, err
}

// Dead lists one page of dead letters.
func (c *Client) Dead(ctx context.Context, sel DeadSelection, after int64, limit int) (p DeadPage, err error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" && value != "0" {
			q.Set(name, value)
		}
	}
	set("id", strconv.FormatInt(sel.ID, 10))
	set("target", sel.Target)
	set("rule", sel.Rule)
	set("reason", sel.Reason)
	set("citizen", sel.Citizen)
	set("after", strconv.FormatInt(after, 10))
	set("limit", strconv.Itoa(limit))
	err = c.do(ctx, http.MethodGet, "/v1/dead?"+q.Encode(), nil, &p)
	return p, err
}

// ReplayDead makes dead letters due now, the first limit of them after an id, and says how many and where to go on.
func (c *Client) ReplayDead(ctx context.Context, sel DeadSelection, after int64, limit int) (n Changed, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/dead/replay?after=%d&limit=%d", after, limit), sel, &n)
	return n, err
}

// DiscardDead gives dead letters up in the same way.
func (c *Client) DiscardDead(ctx context.Context, sel DeadSelection, after int64, limit int) (n Changed, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/dead/discard?after=%d&limit=%d", after, limit), sel, &n)
	return n, err
}

// Quarantine lists one page of the quarantine.
func (c *Client) Quarantine(ctx context.Context, source string, after int64, limit int) (p QuarantinePage, err error) {
	path := fmt.Sprintf("/v1/quarantine?source=%s&after=%d&limit=%d", url.QueryEscape(source), after, limit)
	err = c.do(ctx, http.MethodGet, path, nil, &p)
	return p, err
}

// Quarantined is one entry with its body.
func (c *Client) Quarantined(ctx context.Context, id int64) (q Quarantined, err error) {
	err = c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/quarantine/%d", id), nil, &q)
	return q, err
}

// ReplayQuarantined takes one body through the front door again.
func (c *Client) ReplayQuarantined(ctx context.Context, id int64) (r Replayed, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/quarantine/%d/replay", id), nil, &r)
	return r, err
}

// DiscardQuarantined removes one body.
func (c *Client) DiscardQuarantined(ctx context.Context, id int64) error {
	var n Changed
	return c.do(ctx, http.MethodDelete, fmt.Sprintf("/v1/quarantine/%d", id), nil, &n)
}

// Citizen is what is known of one.
func (c *Client) Citizen(ctx context.Context, source, id string) (out Citizen, err error) {
	err = c.do(ctx, http.MethodGet, citizenPath(source, id), nil, &out)
	return out, err
}

// Receipts lists one page of the proofs of one citizen's confirmed deliveries, of a target and a rule unless empty.
func (c *Client) Receipts(ctx context.Context, source, id, target, rule string, after int64, limit int) (out Receipts, err error) {
	q := url.Values{"target": {target}, "rule": {rule}, "after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	err = c.do(ctx, http.MethodGet, citizenPath(source, id)+"/receipts?"+q.Encode(), nil, &out)
	return out, err
}

// AllReceipts lists one page of all receipts.
func (c *Client) AllReceipts(ctx context.Context, after int64) (out Receipts, err error) {
	err = c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/receipts?after=%d", after), nil, &out)
	return out, err
}

// VerifyReceipts has the daemon read every receipt.
func (c *Client) VerifyReceipts(ctx context.Context) (out Chain, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/receipts/verify", nil, &out)
	return out, err
}

// ReleaseHeld lets the held grants of a citizen through.
func (c *Client) ReleaseHeld(ctx context.Context, source, id string) error {
	var n Changed
	return c.do(ctx, http.MethodPost, citizenPath(source, id)+"/release", nil, &n)
}

// Erase removes a citizen.
func (c *Client) Erase(ctx context.Context, source, id string) (out Erased, err error) {
	err = c.do(ctx, http.MethodDelete, citizenPath(source, id), nil, &out)
	return out, err
}

// Caller is who the daemon takes the client for.
func (c *Client) Caller(ctx context.Context) (out WhoAsks, err error) {
	err = c.do(ctx, http.MethodGet, "/v1/caller", nil, &out)
	return out, err
}

// Explain says what would become of a body that came from a source now.
func (c *Client) Explain(ctx context.Context, source string, body []byte, lookUp bool) (out Explanation, err error) {
	q := url.Values{"source": {source}, "lookup": {strconv.FormatBool(lookUp)}}
	err = c.do(ctx, http.MethodPost, "/v1/explain?"+q.Encode(), raw(body), &out)
	return out, err
}

// raw is a body that is sent as it is.
type raw []byte

// PauseTarget holds a target back; howLong is a duration, empty without an end.
func (c *Client) PauseTarget(ctx context.Context, target, howLong string) (p Paused, err error) {
	err = c.do(ctx, http.MethodPost, targetPath(target)+"/pause", Pausing{howLong}, &p)
	return p, err
}

// ResumeTarget ends that.
func (c *Client) ResumeTarget(ctx context.Context, target string) (p Paused, err error) {
	err = c.do(ctx, http.MethodPost, targetPath(target)+"/resume", nil, &p)
	return p, err
}

// ResyncTarget makes deliveries of a target pending again, for a while.
func (c *Client) ResyncTarget(ctx context.Context, target string, after int64) (r Resynced, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("%s/resync?after=%d", targetPath(target), after), nil, &r)
	return r, err
}

// ResyncCitizen does so with those of a citizen, at every target or one.
func (c *Client) ResyncCitizen(ctx context.Context, source, id, target string) (r Resynced, err error) {
	err = c.do(ctx, http.MethodPost, citizenPath(source, id)+"/resync?target="+url.QueryEscape(target), nil, &r)
	return r, err
}

func targetPath(target string) string { return "/v1/targets/" + url.PathEscape(target) }

func citizenPath(source, id string) string {
	return "/v1/citizens/" + url.PathEscape(source) + "/" + url.PathEscape(id)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return json.Unmarshal(data, out)
}

// send asks, and answers with what is no problem.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	var body io.Reader
	if as, is := in.(raw); is {
		body = bytes.NewReader(as)
	} else if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("%w at %s: start it with `consentd run`, or name its admin address with --address or CONSENTD_ADMIN_ADDR", ErrNotRunning, c.place)
	}
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	var p Problem
	if json.Unmarshal(data, &p) != nil || p.Error == "" {
		return nil, fmt.Errorf("%s answered %s, which no consentd does: if it speaks TLS, write the address with https://; else name consentd's admin address with --address or CONSENTD_ADMIN_ADDR", c.place, res.Status)
	}
	return nil, &RefusedError{res.StatusCode, p.Error}
}
