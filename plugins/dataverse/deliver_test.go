package dataverse

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func crowd(t *testing.T, n int) []sdk.Record {
	t.Helper()
	var records []sdk.Record
	for i := range n {
		records = append(records, contact(t, fmt.Sprint("id", i, "."), attrs{"donotemail": false}))
	}
	return records
}

func TestPartialSuccess(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	e.FailOperation("busy", 1, sim.Fault{Status: 400, Code: "0x80044151", Message: "SQL timeout expired."})
	e.FailOperation("slow", 1, sim.Fault{Status: 429, Code: "0x80072321", Message: "Combined execution time", Header: http.Header{"Retry-After": {"9"}}})
	e.Put("msdynmkt_contactpointconsent4s", existing("bob@example.com", 534120002))
	records := []sdk.Record{
		contact(t, "good", attrs{"donotemail": false}),
		contact(t, "long", attrs{"firstname": strings.Repeat("x", 51)}),
		contact(t, "busy", attrs{"donotemail": false}),
		consentOf(t, "ann@example.com", "opted_in"),
		contact(t, "choice", attrs{"preferredcontactmethodcode": 99}),
		contact(t, "slow", attrs{"donotemail": false}),
		consentOf(t, "bob@example.com", "opted_out"),
		contact(t, "stranger", attrs{"donotemail": true}),
		contact(t, "also good", attrs{"donotemail": false}),
	}
	outcomes := target.Deliver(t.Context(), records)
	for i, want := range []struct {
		kind sdk.Kind
		code string
	}{
		{sdk.KindDelivered, ""}, {sdk.KindRejected, "0x80044331"}, {sdk.KindRetry, "0x80044151"}, {sdk.KindDelivered, ""},
		{sdk.KindRejected, "0x8004431a"}, {sdk.KindThrottled, "0x80072321"}, {sdk.KindUnchanged, ""}, {sdk.KindUnchanged, ""}, {sdk.KindDelivered, ""},
	} {
		expect(t, outcomes[i], want.kind, want.code)
		if !outcomes[i].Individual {
			t.Errorf("record %d is not said to be judged by itself", i)
		}
	}
	if outcomes[5].RetryAfter.Seconds() != 9 {
		t.Errorf("Retry-After of an operation is %s", outcomes[5].RetryAfter)
	}
	if !strings.Contains(outcomes[1].Message, "firstname") {
		t.Errorf("the message does not name the column: %s", outcomes[1].Message)
	}
	if n := e.batches(); n != 2 { // what consents there are, and the writes
		t.Errorf("%d batches, want 2", n)
	}
	// What is retried goes through the next time.
	expect(t, deliver(t, target, records[2]), sdk.KindDelivered, "")
	expect(t, deliver(t, target, records[5]), sdk.KindDelivered, "")
}

func TestBatches(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	expectAll(t, target.Deliver(t.Context(), crowd(t, 2*maxRecords+1)), sdk.KindDelivered, "")
	if n := e.batches(); n != 3 {
		t.Errorf("%d batches, want 3", n)
	}
	if len(target.Deliver(t.Context(), nil)) != 0 || e.batches() != 3 {
		t.Error("nothing at all made a call")
	}
	// A person who comes twice is never twice in a call, and the last one stands.
	e.forget()
	outcomes := target.Deliver(t.Context(), []sdk.Record{
		contact(t, "abc", attrs{"mobilephone": "1"}), contact(t, "other", attrs{"mobilephone": "2"}), contact(t, "ABC", attrs{"mobilephone": "3"}),
		consentOf(t, "ann@example.com", "opted_in"), consentOf(t, "Ann@example.com", "opted_out"),
	})
	expectAll(t, outcomes, sdk.KindDelivered, "")
	if e.contact(t, "abc")["mobilephone"] != "3" || values(e) != "2" {
		t.Errorf("the last one does not stand: %v, %s", e.contact(t, "abc"), values(e))
	}
	// More operations than a batch takes: many rows of one consent.
	for range maxOperations {
		e.Put(consents, existing("cem@example.com", 534120001))
	}
	e.Put(consents, existing("cem@example.com", 534120001))
	e.forget()
	expect(t, deliver(t, target, consentOf(t, "cem@example.com", "opted_out")), sdk.KindDelivered, "")
	if n := len(e.asked("PATCH")); n != maxOperations+1 || e.batches() != 3 {
		t.Errorf("%d writes in %d batches", n, e.batches())
	}
}

// One operation that makes the whole batch fail costs its neighbours nothing.
func TestPoisonIsIsolated(t *testing.T) {
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	e.Poison("id17.")
	records := crowd(t, maxRecords)
	for i, o := range target.Deliver(t.Context(), records) {
		if i == 17 {
			expect(t, o, sdk.KindRejected, "0x80060888")
		} else {
			expect(t, o, sdk.KindDelivered, "")
		}
	}
	if n := e.batches(); n > 15 {
		t.Errorf("%d calls to find one record in %d", n, maxRecords)
	}
	// The same in what is read.
	for i, r := range target.Read(t.Context(), records) {
		if i == 17 {
			expect(t, r.Outcome, sdk.KindRejected, "0x80060888")
		} else if !r.Found || r.Fields["key"].(attrs)["acme_cpmid"] != fmt.Sprint("id", i, ".") {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

func TestWholeCallFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		fault sim.Fault
		kind  sdk.Kind
		code  string
	}{
		"too many requests":   {sim.Fault{Status: 429, Code: "0x80072322", Message: "Number of requests exceeded the limit of 6000 over time window of 300 seconds.", Header: http.Header{"Retry-After": {"31"}}}, sdk.KindThrottled, "0x80072322"},
		"too much time":       {sim.Fault{Status: 429, Code: "0x80072321", Message: "Combined execution time of incoming requests exceeded limit", Header: http.Header{"Retry-After": {"31"}}}, sdk.KindThrottled, "0x80072321"},
		"too many at once":    {sim.Fault{Status: 429, Code: "0x80072326", Message: "Number of concurrent requests exceeded the limit of 52", Header: http.Header{"Retry-After": {"31"}}}, sdk.KindThrottled, "0x80072326"},
		"a throttle as a 400": {sim.Fault{Status: 400, Code: "0x80072322", Message: "Number of requests exceeded the limit"}, sdk.KindThrottled, "0x80072322"},
		"an unknown 429":      {sim.Fault{Status: 429, Message: "slow down"}, sdk.KindThrottled, "HTTP_429"},
		"no application user": {sim.Fault{Status: 403, Code: "0x80072560", Message: "The user is not a member of the organization."}, sdk.KindUnauthorized, "0x80072560"},
		"no privilege":        {sim.Fault{Status: 403, Code: "0x80040220", Message: "Principal user (Id=1, type=8) is missing prvWriteContact privilege"}, sdk.KindUnauthorized, "0x80040220"},
		"an unknown 403":      {sim.Fault{Status: 403, Code: "0x80048541", Message: "no"}, sdk.KindUnauthorized, "0x80048541"},
		"wrong address":       {sim.Fault{Status: 404, Message: "No HTTP resource was found that matches the request URI"}, sdk.KindUnauthorized, "HTTP_404"},
		"another's 404":       {sim.Fault{Status: 404}, sdk.KindUnauthorized, "HTTP_404"},
		"method":              {sim.Fault{Status: 405, Code: "0x80060888", Message: "The requested resource does not support http method 'POST'."}, sdk.KindUnauthorized, "0x80060888"},
		"server error":        {sim.Fault{Status: 500, Code: "0x80040216", Message: "An unexpected error occurred."}, sdk.KindRetry, "0x80040216"},
		"unavailable":         {sim.Fault{Status: 503}, sdk.KindRetry, "HTTP_503"},
		"page with status OK": {sim.Fault{Status: 200}, sdk.KindRetry, "UNREADABLE_ANSWER"},
		"page with a 400":     {sim.Fault{Status: 400}, sdk.KindRetry, "HTTP_400"},
		"redirect":            {sim.Fault{Status: 302}, sdk.KindUnauthorized, "HTTP_302"},
		"cut":                 {sim.Fault{Cut: true}, sdk.KindRetry, "NETWORK"},
		"cut after the work":  {sim.Fault{Cut: true, After: true}, sdk.KindRetry, "NETWORK"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
			records := crowd(t, 3)
			e.FailNext(1, tc.fault)
			outcomes := target.Deliver(t.Context(), records)
			expectAll(t, outcomes, tc.kind, tc.code)
			if tc.fault.Header != nil && outcomes[0].RetryAfter.Seconds() != 31 {
				t.Errorf("Retry-After is %s", outcomes[0].RetryAfter)
			}
			if n := e.batches(); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
		})
	}
	// A front that takes no long bodies: halved.
	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, attrs{"resubscribe": "force"}))
	e.FailNext(1, sim.Fault{Status: 413})
	expectAll(t, target.Deliver(t.Context(), crowd(t, 4)), sdk.KindDelivered, "")
	if n := e.batches(); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

// A failure between the calls of one delivery is told, and the next delivery brings everything.
func TestLaterCallsFail(t *testing.T) {
	for _, batch := range []int{1, 2, 3} {
		e := newEnvironment(t)
		e.Put("contacts", attrs{"acme_cpmid": "5f0c"})
		n := 0
		url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/$batch") {
				if n++; n == batch {
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
			}
			e.ServeHTTP(w, r)
		})
		target := mustTarget(t, config(url, nil))
		record := contact(t, "5f0c", attrs{"donotphone": true, "donotemail": false, "birthdate": "someday"})
		expect(t, deliver(t, target, record), sdk.KindRetry, "HTTP_503")
		expect(t, deliver(t, target, record), sdk.KindRejected, "0x80048d19")
		if e.contact(t, "5f0c")["donotphone"] != true {
			t.Error("the withdrawal is lost")
		}
	}
}

func TestAnswersThatDoNotFit(t *testing.T) {
	const kind = "multipart/mixed; boundary=b"
	part := "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n\r\n"
	for answer, want := range map[[2]string]string{
		{kind, part + "--b--\r\n"}:                    "PART_COUNT_MISMATCH",
		{kind, part + part + part + "--b--\r\n"}:      "PART_COUNT_MISMATCH",
		{kind, part + part}:                           "UNREADABLE_ANSWER",
		{kind, "--b\r\n\r\nHTTP/1.1 no\r\n\r\n--b--"}: "UNREADABLE_ANSWER",
		{kind, ""}: "UNREADABLE_ANSWER",
		{"application/json", part + part + "--b--\r\n"}: "UNREADABLE_ANSWER",
		{"multipart/mixed", part + part + "--b--\r\n"}:  "UNREADABLE_ANSWER",
		{kind, part + part + "--b--\r\n"}:               "",
	} {
		e := newEnvironment(t)
		url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/$batch") {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", answer[0])
				_, _ = w.Write([]byte(answer[1]))
				return
			}
			e.ServeHTTP(w, r)
		})
		target := mustTarget(t, config(url, attrs{"resubscribe": "force"}))
		kind := sdk.KindRetry
		if want == "" {
			kind = sdk.KindDelivered
		}
		expectAll(t, target.Deliver(t.Context(), crowd(t, 2)), kind, want)
	}
}
