package sdk

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFromResponse(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		kind   Kind
		wait   time.Duration
	}{
		{200, "", KindDelivered, 0},
		{204, "5", KindDelivered, 0}, // a wait is of no interest then
		{301, "", KindUnauthorized, 0},
		{400, "", KindRejected, 0},
		{401, "", KindUnauthorized, 0},
		{403, "", KindUnauthorized, 0},
		{404, "", KindRejected, 0},
		{407, "", KindUnauthorized, 0},
		{408, "", KindRetry, 0},
		{409, "", KindRetry, 0},
		{422, "", KindRejected, 0},
		{423, "", KindRetry, 0},
		{425, "", KindRetry, 0},
		{429, "", KindThrottled, 0},
		{429, "12", KindThrottled, 12 * time.Second},
		{429, "soon", KindThrottled, 0},
		{500, "", KindRetry, 0},
		{500, "9", KindRetry, 9 * time.Second},
		{503, "", KindRetry, 0},
		{503, "0", KindThrottled, 0},
		{503, "4", KindThrottled, 4 * time.Second},
		{504, "", KindRetry, 0},
	} {
		header := http.Header{}
		if c.after != "" {
			header.Set("Retry-After", c.after)
		}
		o := FromResponse(c.status, header)
		if o.Kind != c.kind || o.RetryAfter != c.wait {
			t.Errorf("%d, Retry-After %q: %+v, want %v after %v", c.status, c.after, o, c.kind, c.wait)
		}
		if o.Kind != KindDelivered && o.Code != "HTTP_"+strconv.Itoa(c.status) {
			t.Errorf("%d: code %q", c.status, o.Code)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC)
	for _, c := range []struct {
		value string
		wait  time.Duration
		said  bool
	}{
		{"", 0, false},
		{"   ", 0, false},
		{"120", 2 * time.Minute, true},
		{" 7 ", 7 * time.Second, true},
		{"1.5", 1500 * time.Millisecond, true},
		{"0.001", time.Millisecond, true},
		{"0", 0, true},
		{"-30", 0, true},
		{"1e300", MaxRetryAfter, true},
		{"999999999", MaxRetryAfter, true},
		{"NaN", 0, false},
		{"Inf", 0, false},
		{"-Inf", 0, false},
		{"1e400", 0, false},
		{"soon", 0, false},
		{"10s", 0, false},
		{strconv.FormatInt(now.Unix()+60, 10), 59500 * time.Millisecond, true},
		{strconv.FormatInt(now.Unix()-60, 10), 0, true},
		{strconv.FormatInt(now.Unix()+1e7, 10), MaxRetryAfter, true},
		{"Sun, 01 Mar 2026 12:01:00 GMT", 59500 * time.Millisecond, true},
		{"Sun, 01 Mar 2026 11:59:00 GMT", 0, true},
		{"Fri, 01 Mar 2126 12:00:00 GMT", MaxRetryAfter, true},
		{"Sunday, 01-Mar-26 12:01:00 GMT", 59500 * time.Millisecond, true}, // RFC 850
		{"Sun Mar  1 12:01:00 2026", 59500 * time.Millisecond, true},       // asctime
	} {
		wait, said := RetryAfter(c.value, now)
		if math.Abs(float64(wait-c.wait)) > float64(time.Millisecond) || said != c.said {
			t.Errorf("%q: %v, %v, want %v, %v", c.value, wait, said, c.wait, c.said)
		}
	}
}

func TestFromError(t *testing.T) {
	const secret = "https://api.example.com/?key=s3cret&email=ann@example.com"
	for _, c := range []struct {
		err  error
		code string
	}{
		{context.Canceled, "CANCELED"},
		{context.DeadlineExceeded, "TIMEOUT"},
		{os.ErrDeadlineExceeded, "TIMEOUT"},
		{&url.Error{Op: "Post", URL: secret, Err: context.DeadlineExceeded}, "TIMEOUT"},
		{fmt.Errorf("send: %w", &url.Error{Op: "Post", URL: secret, Err: errors.New("EOF")}), "NETWORK"},
		{&url.Error{Op: "Post", URL: secret, Err: &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7)}, Err: syscall.ECONNREFUSED}}, "NETWORK"},
		{&url.Error{Op: "Post", URL: secret, Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "s3cret.example.com"}}}, "DNS"},
		{&url.Error{Op: "Post", URL: secret, Err: x509.UnknownAuthorityError{}}, "NETWORK"},
	} {
		o := FromError(c.err)
		if o.Kind != KindRetry || o.Code != c.code || o.Message == "" {
			t.Errorf("%v: %+v, want %s", c.err, o, c.code)
		}
		for _, leak := range []string{"s3cret", "ann@", "10.9.8.7"} {
			if strings.Contains(o.Message, leak) {
				t.Errorf("%s leaks: %q", c.code, o.Message)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	for k, want := range map[Kind]string{
		KindRetry: "retry", KindDelivered: "delivered", KindUnchanged: "unchanged", KindAccepted: "accepted",
		KindThrottled: "throttled", KindUnauthorized: "unauthorized", KindRejected: "rejected", 99: "retry", -1: "retry",
	} {
		if k.String() != want {
			t.Errorf("%d: %s, want %s", k, k, want)
		}
		if done := want == "delivered" || want == "unchanged" || want == "accepted"; k.Done() != done {
			t.Errorf("%s: done %v", want, k.Done())
		}
	}
	if (Outcome{}).Kind != KindRetry {
		t.Error("an outcome that nobody made is not Retry")
	}
}

func TestOutcomeAsError(t *testing.T) {
	for _, o := range []Outcome{Delivered("x"), Unchanged(), Accepted("x")} {
		if err := o.Err(); err != nil {
			t.Errorf("%v is the error %v", o.Kind, err)
		}
	}
	o := Throttled(time.Minute, "SLOW", "slow down")
	if got := FromError(fmt.Errorf("read list: %w", o.Err())); got != o {
		t.Errorf("%+v came back as %+v", o, got)
	}
}
