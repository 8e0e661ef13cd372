package httpclient

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clientFor(t *testing.T, o Options, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	o.BaseURL = server.URL + "/v1/"
	return must(t, o)
}

func must(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(path string) Request { return Request{Method: "GET", Path: path} }

func TestNew(t *testing.T) {
	for _, base := range []string{"", "example.com", "/v1", "ftp://example.com", "http://", "http://s3cret:%zz@x", "https://u:s3cret@x", "https://x?key=s3cret", "https://x/#s3cret"} {
		if _, err := New(Options{BaseURL: base}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestRequests(t *testing.T) {
	c := clientFor(t, Options{Header: http.Header{"x-team": {"a"}}, Auth: Bearer("t")}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s type=%q auth=%q team=%q body=%s", r.Method, r.RequestURI,
			r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("X-Team"), body)
	})
	for _, call := range []struct {
		request Request
		want    string
	}{
		{get("/x%2Fy?a=b"), `GET /v1/x%2Fy?a=b type="" auth="Bearer t" team="a" body=`},
		{Request{Method: "GET", Path: "/x", Query: url.Values{"q": {"a b&c"}}}, `GET /v1/x?q=a+b%26c type="" auth="Bearer t" team="a" body=`},
		{Request{Method: "POST", Path: "/x", Body: map[string]any{"n": nil, "big": json.Number("9007199254740993"), "s": "<é&>"}}, `POST /v1/x type="application/json" auth="Bearer t" team="a" body={"big":9007199254740993,"n":null,"s":"<é&>"}`},
		{Request{Method: "PUT", Path: "/x", Body: []byte(`{"raw": 1}`)}, `PUT /v1/x type="application/json" auth="Bearer t" team="a" body={"raw": 1}`},
		{Request{Method: "PUT", Path: "/x", Body: json.RawMessage(`{"raw": 1}`)}, `PUT /v1/x type="application/json" auth="Bearer t" team="a" body={"raw": 1}`},
		{Request{Method: "POST", Path: "/x", Body: url.Values{"a": {"b c"}}}, `POST /v1/x type="application/x-www-form-urlencoded" auth="Bearer t" team="a" body=a=b+c`},
		{Request{Method: "POST", Path: "/x", Body: []byte(`1`), Header: http.Header{"x-team": {"b"}, "Content-Type": {"text/csv"}}}, `POST /v1/x type="text/csv" auth="Bearer t" team="b" body=1`},
	} {
		res, err := c.Do(t.Context(), call.request)
		if err != nil || string(res.Body) != call.want || !res.OK() || res.Err() != nil {
			t.Errorf("sent %s, %v\nwant %s", res.Body, err, call.want)
		}
	}
	if c.header.Get("X-Team") != "a" || c.header.Get("Content-Type") != "" {
		t.Errorf("a call changed the client's headers: %v", c.header)
	}
}

// A content type of the client's own stands for JSON only.
func TestContentTypeOfTheVendor(t *testing.T) {
	c := clientFor(t, Options{Header: http.Header{"Content-Type": {"application/vnd.api+json"}}}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Content-Type"))
	})
	for _, call := range []struct {
		body any
		want string
	}{{map[string]any{}, "application/vnd.api+json"}, {url.Values{}, "application/x-www-form-urlencoded"}, {nil, ""}} {
		if res, err := c.Do(t.Context(), Request{Method: "POST", Body: call.body}); err != nil || string(res.Body) != call.want {
			t.Errorf("sent %s, %v, want %q", res.Body, err, call.want)
		}
	}
}

func TestAuth(t *testing.T) {
	for want, auth := range map[string]Auth{
		"Bearer t0k||":           Bearer("t0k"),
		"Basic dTpwOnc=||":       Basic("u", "p:w"),
		"|k3y|":                  APIKey("api-key", "k3y"),
		"Klaviyo-API-Key pk_1||": APIKey("Authorization", "Klaviyo-API-Key pk_1"),
		"||":                     {},
	} {
		c := clientFor(t, Options{Auth: auth}, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s|%s|", r.Header.Get("Authorization"), r.Header.Get("Api-Key"))
		})
		if res, err := c.Do(t.Context(), get("/")); err != nil || string(res.Body) != want {
			t.Errorf("sent %s, %v, want %s", res.Body, err, want)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	requests := 0
	c := clientFor(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	res, err := c.Do(t.Context(), Request{Method: "POST", Path: "/x", Body: []byte(`{}`)})
	if err != nil || res.Outcome().Kind != sdk.KindUnauthorized || res.OK() || requests != 1 {
		t.Errorf("%+v, %v, %d requests", res, err, requests)
	}
}

func TestBounds(t *testing.T) {
	size := 1000
	packed := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, size))
			z.Close()
		}
	}
	c := clientFor(t, Options{MaxAnswer: 1000, MaxRequest: 10}, packed)
	if res, err := c.Do(t.Context(), get("/")); err != nil || len(res.Body) != 1000 {
		t.Errorf("the longest one: %v", err)
	}
	size++
	if _, err := c.Do(t.Context(), get("/")); sdk.FromError(err).Code != "ANSWER_TOO_LONG" || sdk.FromError(err).Kind != sdk.KindRetry {
		t.Errorf("one byte more: %v", err)
	}
	size = 0
	if _, err := c.Do(t.Context(), Request{Method: "POST", Body: make([]byte, 10)}); err != nil {
		t.Errorf("the longest request: %v", err)
	}
	if _, err := c.Do(t.Context(), Request{Method: "POST", Body: make([]byte, 11)}); sdk.FromError(err).Code != "REQUEST_TOO_LARGE" || sdk.FromError(err).Kind != sdk.KindRejected {
		t.Errorf("one byte more: %v", err)
	}
	status := clientFor(t, Options{StatusOnly: true, MaxAnswer: 1}, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2*maxDrain)) })
	if res, err := status.Do(t.Context(), get("/")); err != nil || res.Body != nil || !res.OK() {
		t.Errorf("status only: %v", err)
	}
}

func TestTraceGoesOn(t *testing.T) {
	c := clientFor(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Traceparent"), r.Header.Get("Tracestate"))
	})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for sent, want := range map[string]string{parent: parent, "ann@example.com": "", "": ""} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", sent, "tracestate", "a=b"))
		if res, err := c.Do(ctx, get("/")); err != nil || string(res.Body) != want {
			t.Errorf("%q came as %s, %v", sent, res.Body, err)
		}
	}
}

// What a vendor means differently is said once, for all calls.
func TestClassify(t *testing.T) {
	c := clientFor(t, Options{
		Quota: Quota{Reset: "X-Reset"},
		Classify: func(res *Response, o sdk.Outcome) sdk.Outcome {
			var body struct{ Code string }
			_ = res.Decode(&body)
			switch body.Code {
			case "limit":
				return sdk.Throttled(0, "LIMIT", "no more today")
			case "busy":
				return sdk.Retry("BUSY", "later")
			}
			return o
		},
	}, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.Header().Set("X-Reset", "7")
		w.WriteHeader(status)
		fmt.Fprint(w, r.URL.Query().Get("body"))
	})
	for _, call := range []struct {
		status, body string
		kind         sdk.Kind
		code         string
		after        time.Duration
	}{
		{"403", `{"code":"limit"}`, sdk.KindThrottled, "LIMIT", 7 * time.Second},
		{"200", `{"code":"limit"}`, sdk.KindThrottled, "LIMIT", 7 * time.Second},
		{"400", `{"code":"busy"}`, sdk.KindRetry, "BUSY", 0},
		{"429", `<h1>slow down</h1>`, sdk.KindThrottled, "HTTP_429", 7 * time.Second},
		{"400", `{}`, sdk.KindRejected, "HTTP_400", 0},
		{"200", `{}`, sdk.KindDelivered, "", 0},
	} {
		res, err := c.Do(t.Context(), Request{Method: "GET", Query: url.Values{"status": {call.status}, "body": {call.body}}})
		if err != nil {
			t.Fatal(err)
		}
		o := res.Outcome()
		if o.Kind != call.kind || o.Code != call.code || o.RetryAfter != call.after {
			t.Errorf("%s %s: %+v", call.status, call.body, o)
		}
		if err := res.Err(); (err == nil) != o.Kind.Done() || err != nil && sdk.FromError(err) != o {
			t.Errorf("%s %s: error %v", call.status, call.body, err)
		}
	}
}

// No error of the client holds an address, which may hold a key or a person.
func TestErrorsHoldNoAddress(t *testing.T) {
	c := clientFor(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
		<-r.Context().Done()
	})
	timeout, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	gone := clientFor(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // it may have been acted upon
		panic(http.ErrAbortHandler)
	})
	half := clientFor(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("ann@example.com"))
	})
	const person = "/people/ann@example.com?key=s3cret"
	for _, call := range []struct {
		client *Client
		ctx    context.Context
		method string
		path   string
		kind   sdk.Kind
		code   string
	}{
		{c, timeout, "GET", person, sdk.KindRetry, "TIMEOUT"},
		{gone, t.Context(), "POST", person, sdk.KindRetry, "NETWORK"},
		{half, t.Context(), "GET", person, sdk.KindRetry, "NETWORK"},
		{must(t, Options{BaseURL: "http://127.0.0.1:1"}), t.Context(), "GET", person, sdk.KindRetry, "NETWORK"},
		{c, t.Context(), "BAD METHOD", person, sdk.KindRejected, "INVALID_REQUEST"},
		{c, t.Context(), "GET", "/s3cret%zz", sdk.KindRejected, "INVALID_REQUEST"},
	} {
		_, err := call.client.Do(call.ctx, Request{Method: call.method, Path: call.path, Body: []byte("{}")})
		if err == nil {
			t.Fatalf("%s: no error", call.code)
		}
		for _, text := range []string{err.Error(), sdk.FromError(err).Message} {
			if strings.Contains(text, "ann@") || strings.Contains(text, "s3cret") || strings.Contains(text, "127.0.0.1") {
				t.Errorf("%s: %q", call.code, text)
			}
		}
		if o := sdk.FromError(err); o.Kind != call.kind || o.Code != call.code {
			t.Errorf("%v: %+v, want %s", err, o, call.code)
		}
	}
	for _, body := range []any{func() {}, map[string]any{"n": json.Number("s3cret")}} {
		_, err := c.Do(t.Context(), Request{Method: "POST", Body: body})
		if sdk.FromError(err).Code != "INVALID_RECORD" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%T: %v", body, err)
		}
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string]bool{
		"INVALID_EMAIL": true, "1006": true, "0x80040237": true, "merge.FNAME": true,
		"": false, "ann@example.com": false, "4915112345678": false, "is not valid": false, "a\nb": false,
	} {
		if got := Word(s); (got == s && s != "") != want {
			t.Errorf("%q: %q", s, got)
		}
	}
	if got := Words([]string{"Email", "one two", "a@b", "X__c"}); got != "Email, X__c" {
		t.Errorf("words %q", got)
	}
	for s, want := range map[string]bool{"key-us21": true, "": false, "key\n": false, "k ey": false, "k\u00e9y": false} {
		if Printable(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
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
