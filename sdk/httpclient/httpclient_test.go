package httpclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clientFor(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(server.URL+"/v1/", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNew(t *testing.T) {
	for _, base := range []string{"", "example.com", "/v1", "ftp://example.com", "http://", "http://s3cret:%zz@x"} {
		if _, err := New(base, 1); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestRequests(t *testing.T) {
	c := clientFor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s type=%q auth=%q team=%q body=%s", r.Method, r.RequestURI,
			r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("X-Team"), body)
	})
	c.Header.Set("X-Team", "a")
	c.Authorize = func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer t")
		return nil
	}
	for _, call := range []struct {
		method, path string
		body         any
		header       http.Header
		want         string
	}{
		{"GET", "/x%2Fy?a=b", nil, nil, `GET /v1/x%2Fy?a=b type="" auth="Bearer t" team="a" body=`},
		{"POST", "/x", map[string]any{"n": nil}, nil, `POST /v1/x type="application/json" auth="Bearer t" team="a" body={"n":null}`},
		{"PUT", "/x", []byte(`{"raw": 1}`), nil, `PUT /v1/x type="application/json" auth="Bearer t" team="a" body={"raw": 1}`},
		{"POST", "/x", url.Values{"a": {"b c"}}, nil, `POST /v1/x type="application/x-www-form-urlencoded" auth="Bearer t" team="a" body=a=b+c`},
		{"POST", "/x", []byte(`1`), http.Header{"x-team": {"b"}, "Content-Type": {"text/csv"}}, `POST /v1/x type="text/csv" auth="Bearer t" team="b" body=1`},
	} {
		res, err := c.Do(t.Context(), call.method, call.path, call.body, call.header)
		if err != nil || string(res.Body) != call.want || !res.OK() {
			t.Errorf("sent %s, %v\nwant %s", res.Body, err, call.want)
		}
	}
	if c.Header.Get("X-Team") != "a" || c.Header.Get("Authorization") != "" {
		t.Errorf("a call changed the client's headers: %v", c.Header)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	requests := 0
	c := clientFor(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	res, err := c.Do(t.Context(), "POST", "/x", []byte(`{}`), nil)
	if err != nil || res.Status != http.StatusTemporaryRedirect || res.OK() || requests != 1 {
		t.Errorf("%+v, %v, %d requests", res, err, requests)
	}
}

func TestAnswerThatIsTooLong(t *testing.T) {
	size := MaxBody
	c := clientFor(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, size)) })
	if res, err := c.Do(t.Context(), "GET", "/", nil, nil); err != nil || len(res.Body) != MaxBody {
		t.Errorf("the longest one: %v", err)
	}
	size++
	if _, err := c.Do(t.Context(), "GET", "/", nil, nil); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("one byte more: %v", err)
	}
}

// No error of the client holds an address, which may hold a key or a person.
func TestErrorsHoldNoAddress(t *testing.T) {
	c := clientFor(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	timeout, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	gone := clientFor(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	refused, err := New("http://127.0.0.1:1", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		client *Client
		ctx    context.Context
		method string
		code   string
	}{
		{c, timeout, "GET", "TIMEOUT"},
		{gone, t.Context(), "POST", "NETWORK"},
		{refused, t.Context(), "GET", "NETWORK"},
		{c, t.Context(), "BAD METHOD", "NETWORK"},
	} {
		_, err := call.client.Do(call.ctx, call.method, "/people/ann@example.com?key=s3cret", nil, nil)
		if err == nil {
			t.Fatalf("%s: no error", call.code)
		}
		for _, text := range []string{err.Error(), sdk.FromError(err).Message} {
			if strings.Contains(text, "ann@") || strings.Contains(text, "s3cret") || strings.Contains(text, "127.0.0.1") {
				t.Errorf("%s: %q", call.code, text)
			}
		}
		if o := sdk.FromError(err); o.Code != call.code {
			t.Errorf("%v: %+v, want %s", err, o, call.code)
		}
	}
	if _, err := c.Do(t.Context(), "POST", "/", func() {}, nil); err == nil {
		t.Error("a function was sent as JSON")
	}
}

func TestAuthorizeThatFails(t *testing.T) {
	c := clientFor(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	no := errors.New("no token")
	c.Authorize = func(context.Context, *http.Request) error { return no }
	if _, err := c.Do(t.Context(), "GET", "/", nil, nil); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
}

func TestDecode(t *testing.T) {
	var v map[string]any
	if err := (&Response{Body: []byte(`{"id":9007199254740993}`)}).Decode(&v); err != nil || v["id"] != json.Number("9007199254740993") {
		t.Errorf("%v, %v", v, err)
	}
	if err := (&Response{Body: []byte(`ann@example.com`)}).Decode(&v); err == nil || strings.Contains(err.Error(), "ann") {
		t.Errorf("error %v", err)
	}
}
