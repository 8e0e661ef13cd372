package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const toyToken = "toy-secret-token"

// people is a fake vendor: PATCH merges a person's fields, null removes one.
type people struct {
	mu   sync.Mutex
	held map[string]map[string]any
}

func newPeople() *people { return &people{held: map[string]map[string]any{}} }

func (p *people) State() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]map[string]any{}
	for id, fields := range p.held {
		out[id] = maps.Clone(fields)
	}
	return out
}

func (p *people) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/people/")
	var fields map[string]any
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	held, known := p.held[id]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Header.Get("Authorization") != "Bearer "+toyToken:
		w.WriteHeader(401)
	case r.URL.Path == "/ping":
	case r.Method == "GET" && known:
		json.NewEncoder(w).Encode(held)
		return
	case r.Method == "GET":
		w.WriteHeader(404)
	case r.Method == "DELETE":
		delete(p.held, id)
	case json.Unmarshal(body, &fields) != nil || fields["score"] == "bad":
		w.WriteHeader(422)
	default:
		if !known {
			held = map[string]any{}
			p.held[id] = held
		}
		for name, value := range fields {
			if n, ok := value.(string); ok && strings.HasPrefix(n, "+") {
				text, _ := held[name].(string)
				held[name] = text + n
			} else if value == nil {
				delete(held, name)
			} else {
				held[name] = value
			}
		}
	}
	io.WriteString(w, "{}")
}

func toySuite(fault string) Suite {
	return Suite{
		Plugin: func() sdk.Plugin { return toyPlugin(fault) },
		Config: map[string]any{"base_url": URL, "token": toyToken, "auth": map[string]string{"region": "eu"}},
		Vendor: func(string) Vendor {
			fake := newPeople()
			return Vendor{Handler: fake, State: fake.State}
		},
		Record: func(person string, allowed bool) map[string]any {
			return map[string]any{"id": person, "email": person + "@example.com", "newsletter": allowed}
		},
		Rejected: func(person string) map[string]any { return map[string]any{"id": person, "score": "bad"} },
		Presence: func(person string) Presence {
			return Presence{
				Set:    map[string]any{"id": person, "newsletter": true},
				Null:   map[string]any{"id": person, "newsletter": nil},
				Absent: map[string]any{"id": person},
				False:  map[string]any{"id": person, "newsletter": false},
			}
		},
		WrongConfig: map[string]any{"auth.region": "moon"},
	}
}

// described counts the descriptions of one test process, for the plugin that is never the same.
var described atomic.Int64

func toyPlugin(fault string) sdk.Plugin {
	p := sdk.Plugin{
		Type: "toy", Version: "1.0.0", Doc: "Keeps people.",
		Config: sdk.Schema{
			Attributes: map[string]sdk.Attribute{
				"base_url": {Type: "string", Doc: "Where the API is."},
				"token":    {Type: "string", Required: true, Sensitive: true, Doc: "The key."},
			},
			Blocks: map[string]sdk.Block{"auth": {Doc: "More.", Body: sdk.Schema{Attributes: map[string]sdk.Attribute{
				"region": {Type: "string", Doc: "The region."},
			}}}},
		},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"id":         {Type: "string", Required: true, Doc: "Who."},
			"email":      {Type: "string", Doc: "The address."},
			"newsletter": {Type: "bool", Doc: "Whether they want it."},
			"score":      {Type: "string", Doc: "Any word."},
		}},
		Limits: sdk.Limits{MaxBatch: 3, MaxInFlight: 4},
		New: func(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
			return newToy(fault, cfg, log)
		},
	}
	switch fault {
	case "describe differs":
		p.Doc = fmt.Sprint("Described ", described.Add(1))
	case "describe writes":
		os.WriteFile("toy.cache", nil, 0o600)
	case "describe dials":
		http.Get("http://vendor.invalid/schema")
	case "no doc":
		p.Record.Attributes["score"] = sdk.Attribute{Type: "string"}
	case "secret not marked":
		p.Config.Attributes["token"] = sdk.Attribute{Type: "string", Required: true, Doc: "The key."}
	case "required in the record only":
		p.Record.Attributes["email"] = sdk.Attribute{Type: "string", Required: true, Doc: "The address."}
	}
	return p
}

type toy struct {
	fault  string
	client *httpclient.Client
	log    hclog.Logger
	stop   chan struct{}
	mu     sync.Mutex
	now    string // whom the faulty one is busy with
	gone   map[string]bool
	failed bool
}

// toyShared is what the faulty plugin shares between its targets.
var toyShared atomic.Bool

func newToy(fault string, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c struct {
		BaseURL string `json:"base_url"`
		Token   string `json:"token"`
		Auth    struct{ Region string }
	}
	if err := cfg.Decode(&c); err != nil {
		return nil, err
	}
	if c.Token == "" && fault != "empty token" {
		return nil, sdk.InvalidConfig("token", "must not be empty")
	}
	if c.Auth.Region == "moon" && fault != "wrong region taken" {
		if fault == "error without a path" {
			return nil, errors.New("there is no moon")
		}
		return nil, sdk.InvalidConfig("auth.region", "must be eu or us")
	}
	client, err := httpclient.New(httpclient.Options{BaseURL: c.BaseURL, Auth: httpclient.Bearer(c.Token)})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	t := &toy{fault: fault, client: client, log: log, stop: make(chan struct{}), gone: map[string]bool{}}
	toyShared.Store(false)
	if fault == "secret logged" {
		log.Debug("made", "token", c.Token)
	}
	if fault == "secret printed" {
		fmt.Println("toy", c.Token)
	}
	if fault == "goroutine" {
		go func() { <-t.stop }()
	}
	target := struct {
		sdk.Target
		sdk.Checker
		sdk.Eraser
		sdk.Closer
	}{t, t, t, t}
	if fault == "no optional verbs" {
		return struct {
			sdk.Target
			sdk.Closer
		}{t, t}, nil
	}
	return struct {
		sdk.Target
		sdk.Checker
		sdk.Eraser
		sdk.Closer
		sdk.Reader
	}{target, target, target, target, t}, nil
}

func (t *toy) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	if t.fault == "ignores its context" {
		ctx = context.Background()
	}
	outcomes := sdk.Each(ctx, records, 1, t.deliver)
	switch t.fault {
	case "outcomes reversed":
		slices.Reverse(outcomes)
	case "outcomes short":
		outcomes = outcomes[:max(1, len(outcomes)-1)]
	case "one bad record rejects all":
		for _, o := range outcomes {
			if o.Kind == sdk.KindRejected {
				return slices.Repeat([]sdk.Outcome{o}, len(outcomes))
			}
		}
	}
	return outcomes
}

func (t *toy) deliver(ctx context.Context, r sdk.Record) sdk.Outcome {
	var fields map[string]any
	if err := r.Decode(&fields); err != nil {
		return sdk.Rejected("INVALID", "%v", err)
	}
	id, _ := fields["id"].(string)
	delete(fields, "id")
	header := http.Header{}
	switch t.fault {
	case "adds up":
		if fields["score"] == nil {
			fields["score"] = "+1"
		}
	case "withdrawal ignored":
		delete(fields, "newsletter")
	case "withdrawal for ever":
		t.mu.Lock()
		t.gone[id] = t.gone[id] || fields["newsletter"] == false
		if t.gone[id] && fields["newsletter"] == true {
			fields["newsletter"] = false
		}
		t.mu.Unlock()
	case "null as absent":
		maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	case "null as false":
		if v, ok := fields["newsletter"]; ok && v == nil {
			fields["newsletter"] = false
		}
	case "absent as null":
		if _, ok := fields["newsletter"]; !ok {
			fields["newsletter"] = nil
		}
	case "unknown panics", "unknown retried", "unknown granted":
		res, err := t.client.Do(ctx, httpclient.Request{Method: "GET", Path: "/people/" + id})
		if err == nil && res.Status == 404 && fields["newsletter"] == false {
			if t.fault == "unknown panics" {
				panic("who?")
			}
			if t.fault == "unknown retried" {
				return sdk.Retry("UNKNOWN", "not known")
			}
			fields["newsletter"] = true
		}
	case "shared person":
		t.mu.Lock()
		t.now = id
		t.mu.Unlock()
		time.Sleep(time.Millisecond)
		t.mu.Lock()
		id = t.now
		t.mu.Unlock()
	case "person logged":
		t.log.Info("delivering", "record", string(r.Fields))
	case "stays broken":
		t.mu.Lock()
		failed := t.failed
		t.mu.Unlock()
		if failed {
			return sdk.Retry("BROKEN", "not again")
		}
	}
	if t.fault == "closes all" && toyShared.Load() {
		return sdk.Retry("CLOSED", "closed")
	}
	res, err := t.client.Do(ctx, httpclient.Request{Method: "PATCH", Path: "/people/" + id, Body: fields, Header: header})
	if err != nil {
		if t.fault == "cut rejected" {
			return sdk.Rejected("CUT", "no answer")
		}
		return sdk.FromError(err)
	}
	o := res.Outcome()
	if res.OK() && !json.Valid(res.Body) {
		o = sdk.Retry("NOT_JSON", "the answer is no JSON")
	}
	return t.spoil(o, res)
}

// spoil reads an answer wrongly.
func (t *toy) spoil(o sdk.Outcome, res *httpclient.Response) sdk.Outcome {
	status := fmt.Sprint(res.Status)
	switch {
	case t.fault == "takes "+status+" for delivered":
		return sdk.Delivered("")
	case t.fault == "takes "+status+" for retry":
		return sdk.Retry("X", "x")
	case t.fault == "takes "+status+" for rejected":
		return sdk.Rejected("X", "x")
	case t.fault == "not-json delivered" && res.OK():
		return sdk.Delivered("")
	case t.fault == "Retry-After lost":
		o.RetryAfter = 0
	case t.fault == "silent" && res.Status == 500:
		o.Message = ""
	case t.fault == "secret answered" && !res.OK():
		o.Message = "vendor: " + string(res.Body)
	case t.fault == "stays broken" && res.Status == 500:
		t.mu.Lock()
		t.failed = true
		t.mu.Unlock()
	}
	return o
}

func (t *toy) Check(ctx context.Context) sdk.Outcome {
	path := "/ping"
	switch t.fault {
	case "check optimistic":
		return sdk.Delivered("")
	case "check changes":
		t.client.Do(ctx, httpclient.Request{Method: "PATCH", Path: "/people/probe", Body: map[string]any{}})
	}
	res, err := t.client.Do(ctx, httpclient.Request{Method: "GET", Path: path})
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
}

func (t *toy) Read(ctx context.Context, records []sdk.Record) []sdk.Reading {
	var all []sdk.Reading
	for _, r := range records {
		var fields struct{ ID string }
		if err := r.Decode(&fields); err != nil {
			return nil
		}
		res, err := t.client.Do(ctx, httpclient.Request{Method: "GET", Path: "/people/" + fields.ID})
		switch {
		case err != nil:
			all = append(all, sdk.Reading{Outcome: sdk.FromError(err)})
		case res.Status == 404 || t.fault == "read blind":
			all = append(all, sdk.Reading{Outcome: sdk.Delivered(""), Found: t.fault == "read blind"})
		case !res.OK() && t.fault != "read deaf":
			all = append(all, sdk.Reading{Outcome: res.Outcome()})
		default:
			all = append(all, sdk.Reading{Outcome: sdk.Delivered(""), Found: true, Fields: map[string]any{"id": fields.ID}})
		}
	}
	return all
}

func (t *toy) Erase(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, 1, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		var fields struct{ ID string }
		if err := r.Decode(&fields); err != nil || t.fault == "erase nothing" {
			return sdk.Delivered("")
		}
		res, err := t.client.Do(ctx, httpclient.Request{Method: "DELETE", Path: "/people/" + fields.ID})
		if err != nil {
			return sdk.FromError(err)
		}
		return res.Outcome()
	})
}

func (t *toy) Close() error {
	toyShared.Store(true)
	switch t.fault {
	case "close fails":
		return errors.New("not now")
	case "connections left":
		return nil
	}
	t.client.Close()
	return nil
}
