package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is a receiver of OTLP over HTTP.
type spans struct {
	*httptest.Server
	mu  sync.Mutex
	all []*otlp.Span
	raw strings.Builder
}

func newSpans(t *testing.T) *spans {
	s := &spans{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "Bearer c0llector" {
			t.Errorf("no export: %s, %v", r.URL.Path, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw.WriteString(request.String())
		for _, of := range request.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				s.all = append(s.all, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(s.Close)
	return s
}

// named are the spans of a name, in the order in which they ended.
func (s *spans) named(name string) []*otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*otlp.Span
	for _, span := range s.all {
		if span.Name == name {
			found = append(found, span)
		}
	}
	return found
}

func says(s *otlp.Span) string {
	var all []string
	for _, a := range s.Attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all = append(all, a.Key+"="+v.StringValue)
		case *common.AnyValue_IntValue:
			all = append(all, fmt.Sprint(a.Key, "=", v.IntValue))
		}
	}
	return strings.Join(all, " ")
}

func telemetry(endpoint string) string {
	return fmt.Sprintf(`
telemetry {
  sample_ratio = 1

  otlp {
    endpoint = %q
    headers  = { "Authorization" = "Bearer c0llector" }
  }
}
`, endpoint)
}

// TestTraces follows an update from the sender's own trace, through a daemon and a plugin that are processes of their own, to the
// vendor's request.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var parents []string
	vendor := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		parents = append(parents, r.Header.Get("Traceparent"))
	}))
	defer vendor.Close()
	got := newSpans(t)
	s := newSink(t)
	s.url = vendor.URL
	i := configure(t, apiKeySource+s.config("crm", "")+telemetry(got.URL))
	i.start()
	const sender = "0af7651916cd43dd8448eb211c80319c"
	status, text := i.post(update("zuleika", "DENIED", 1), func(r *http.Request) { r.Header.Set("Traceparent", "00-"+sender+"-b7ad6b7169203331-01") })
	if status != http.StatusOK {
		t.Fatalf("answer %d %s", status, text)
	}
	i.settled("crm")
	i.stop() // which exports what is left

	one := map[string]*otlp.Span{}
	for name, says1 := range map[string]string{
		"receive update": "consentd.source=dataguard consentd.result=accepted",
		"commit":         "consentd.result=accepted",
		"deliver":        "consentd.target=crm consentd.deliveries=1 consentd.withdrawals=1 consentd.result=settled",
		"render":         "consentd.result=rendered",
		"plugin call": "rpc.system=grpc rpc.service=consentd.target.v1.Target rpc.method=Deliver consentd.target=crm consentd.plugin=webhook 1.0.0 " +
			"consentd.records=1 consentd.outcome.delivered=1 consentd.result=answered",
	} {
		found := got.named(name)
		if len(found) != 1 {
			t.Fatalf("%d spans %q in %v", len(found), name, got.all)
		}
		one[name] = found[0]
		if text := says(found[0]); text != says1 {
			t.Errorf("%s says\n%s\nwant\n%s", name, text, says1)
		}
	}
	within := func(child, parent string) {
		t.Helper()
		if c, p := one[child], one[parent]; string(c.ParentSpanId) != string(p.SpanId) || string(c.TraceId) != string(p.TraceId) {
			t.Errorf("%s is not within %s", child, parent)
		}
	}
	within("commit", "receive update")
	within("render", "deliver")
	within("plugin call", "deliver")
	for _, root := range []string{"receive update", "deliver"} {
		if len(one[root].ParentSpanId) != 0 {
			t.Errorf("%s has a parent", root)
		}
	}
	if links := one["receive update"].Links; len(links) != 1 || hex.EncodeToString(links[0].TraceId) != sender {
		t.Errorf("the post is not linked to the sender's trace: %v", links)
	}
	if links := one["deliver"].Links; len(links) != 1 || string(links[0].SpanId) != string(one["receive update"].SpanId) {
		t.Errorf("the delivery is not linked to the post: %v", links)
	}
	call := one["plugin call"]
	mu.Lock()
	defer mu.Unlock()
	if want := fmt.Sprintf("00-%x-%x-01", call.TraceId, call.SpanId); len(parents) != 1 || parents[0] != want {
		t.Errorf("the vendor was told of %q, want %s", parents, want)
	}
	if one["receive update"].Kind != otlp.Span_SPAN_KIND_SERVER || call.Kind != otlp.Span_SPAN_KIND_CLIENT {
		t.Errorf("kinds %v, %v", one["receive update"].Kind, call.Kind)
	}
	for _, value := range []string{"zuleika", "example.org", "secret-key", "c0llector"} {
		if strings.Contains(got.raw.String(), value) || strings.Contains(i.log.String(), value) {
			t.Errorf("%q is in the traces or in the log", value)
		}
	}
}

// TestTracesInTheWay: a collector that never answers, refuses or is not there holds up neither deliveries nor the end.
func TestTracesInTheWay(t *testing.T) {
	stop := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(stop) })
	for name, endpoint := range map[string]string{"hangs": hangs.URL, "is not there": "http://" + freeAddress(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t)
			i := configure(t, apiKeySource+s.config("crm", "")+telemetry(endpoint))
			i.start()
			for n := range 600 { // more than are kept for exporting
				i.accept(update(fmt.Sprint("c", n%50), []string{"GRANTED", "DENIED"}[n%2], n))
			}
			i.settled("crm")
			i.stop()
			if name == "hangs" && !strings.Contains(i.log.String(), "export the last spans") {
				t.Error("nothing is said of the spans that were lost")
			}
		})
	}
}

// TestTelemetryStays: where traces go is not changed by a reload, and said so.
func TestTelemetryStays(t *testing.T) {
	s := newSink(t)
	i := configure(t, apiKeySource+s.config("crm", ""))
	i.start()
	before, err := os.ReadFile(i.path("config.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	i.write(string(before) + telemetry("http://127.0.0.1:4318"))
	if _, code := i.run("reload"); code != 1 || !strings.Contains(i.lastError, "telemetry cannot change while consentd runs") {
		t.Errorf("exit code %d: %s", code, i.lastError)
	}
	i.stop()
}
