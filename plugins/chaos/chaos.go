// Package chaos is the plugin that misbehaves on demand. Each way to do so is a key of its configuration or of
// a record, so that a test of the daemon says in HCL what is going to break. It delivers to a file what it does
// not break over, so that a test sees where everything ended. It stands beside the other plugins so that it is
// launched as they are; nobody needs it in production.
package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// What a record can make the plugin do, in the order of their docs.
var misdeeds = []string{
	"exit", "panic", "hang", "late", "slow", "balloon", "fork", "fork_escape", "fork_orphan", "leak",
	"flood_log", "flood_stderr", "few", "many", "unknown", "huge",
}

// What a record can have as its outcome.
var outcomes = []string{"delivered", "unchanged", "accepted", "retry", "throttled", "unauthorized", "rejected"}

// What Configure and Check can do.
var ends = []string{"exit", "panic", "hang", "refuse"}

// Plugin describes the target type chaos.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "chaos",
		Version: "1.0.0",
		Doc: "Misbehaves as its configuration and its records say, to test how consentd and your rules bear it. Not for production. " +
			"What it takes, it appends to a file, one line of JSON a record.",
		Config: sdk.Schema{
			Attributes: map[string]sdk.Attribute{
				"path": {Type: "string", Required: true, Doc: "The file that takes what was delivered. Its folder has to be there."},
				"configure": {Type: "string", Enum: ends, Doc: "What happens when the target is made: " +
					"the process exits, panics or hangs, or the configuration is refused."},
				"configure_after": {Type: "string", Doc: "A file that is made the first time; `configure` counts only when it is there, " +
					"so that the plugin starts once and never again."},
				"check":      {Type: "string", Enum: ends, Doc: "What happens when credentials are checked."},
				"latency_ms": {Type: "number", Default: "0", Doc: "How long every call takes at least, in milliseconds."},
			},
			Blocks: map[string]sdk.Block{
				"on": {Repeated: true, Doc: "Does something over every record of one key. The first block that fits counts, and the record's own `do` before it.", Body: sdk.Schema{
					Attributes: map[string]sdk.Attribute{
						"key":   {Type: "string", Required: true, Doc: "The key of the record."},
						"do":    {Type: "string", Required: true, Enum: slices.Concat(misdeeds, outcomes), Doc: "As `do` of a record."},
						"times": {Type: "number", Default: "0", Doc: "How often at most, in the life of a process; 0 is no bound."},
					},
				}},
			},
		},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"key":    {Type: "string", Required: true, Doc: "Whom the record is about."},
			"fields": {Type: "any", Doc: "An object that is written to the file as it is."},
			"do": {Type: "string", Enum: slices.Concat(misdeeds, outcomes), Default: `"delivered"`, Doc: "What happens over the record. " +
				"An outcome is answered; only done ones are written to the file. " +
				"`exit` and `panic` end the process. `hang` never returns, `late` returns a second after its time is up, `slow` takes a second. " +
				"`balloon` takes memory without end. `fork` starts a process that stays, `fork_escape` one in a session of its own, `fork_orphan` one " +
				"that loses its parent as well; `leak` leaves a thousand goroutines. `flood_log` and `flood_stderr` print 100,000 lines. " +
				"`few` gives no outcome to this record and those after it, `many` one too many, `unknown` one of a kind that there is not, and " +
				"`huge` one too large to be sent."},
			"retry_after_ms": {Type: "number", Default: "0", Doc: "What the outcome says of when to come again, in milliseconds."},
		}},
		Limits: sdk.Limits{MaxBatch: 50, MaxInFlight: 4},
		New:    newTarget,
	}
}

type config struct {
	Path           string
	Configure      string
	ConfigureAfter string `json:"configure_after"`
	Check          string
	LatencyMS      int `json:"latency_ms"`
	On             []trigger
}

type trigger struct {
	Key, Do string
	Times   int
}

type target struct {
	config
	log hclog.Logger

	mu     sync.Mutex // of what follows, and of the file
	done   map[int]int
	leaked chan struct{}
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	t := &target{log: log, done: map[int]int{}, leaked: make(chan struct{})}
	if err := cfg.Decode(&t.config); err != nil {
		return nil, err
	}
	if t.Path == "" {
		return nil, sdk.InvalidConfig("path", "The path is empty. Write the name of a file, such as \"/tmp/chaos.jsonl\".")
	}
	if t.ConfigureAfter != "" {
		f, err := os.OpenFile(t.ConfigureAfter, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return t, f.Close()
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, sdk.InvalidConfig("configure_after", "The file cannot be made: %v.", err)
		}
	}
	if err := end(t.Configure); err != nil {
		return nil, err
	}
	return t, nil
}

// end does what Configure or Check was asked to.
func end(how string) error {
	switch how {
	case "exit":
		fmt.Fprintln(os.Stderr, "chaos exits, as it was told")
		os.Exit(7)
	case "panic":
		panic("chaos panics, as it was told")
	case "hang":
		select {}
	case "refuse":
		return sdk.InvalidConfig("configure", "It is refused, as you told it. Remove configure.")
	}
	return nil
}

// Check fails as it was told, or works.
func (t *target) Check(_ context.Context) sdk.Outcome {
	if err := end(t.config.Check); err != nil {
		return sdk.Unauthorized("REFUSED", "it is refused, as you told it")
	}
	return sdk.Delivered("")
}

type record struct {
	Key          string
	Fields       json.RawMessage
	Do           string
	RetryAfterMS int64 `json:"retry_after_ms"`
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	time.Sleep(time.Duration(t.LatencyMS) * time.Millisecond)
	var all []sdk.Outcome
	for _, in := range records {
		var r record
		if err := in.Decode(&r); err != nil {
			all = append(all, sdk.Rejected("INVALID_RECORD", "%v", err))
			continue
		}
		t.provoke(&r)
		switch r.Do {
		case "few":
			return all
		case "many":
			all = append(all, sdk.Rejected("TOO_MANY", "an outcome for no record"))
		}
		all = append(all, t.deliver(ctx, in, r))
	}
	return all
}

// provoke looks up what the configuration says to do over a record that says nothing itself.
func (t *target) provoke(r *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, on := range t.On {
		if r.Do == "" && on.Key == r.Key && (on.Times == 0 || t.done[i] < on.Times) {
			t.done[i]++
			r.Do = on.Do
		}
	}
}

func (t *target) deliver(ctx context.Context, in sdk.Record, r record) sdk.Outcome {
	if r.Do == "" {
		r.Do = "delivered"
	}
	if !slices.Contains(outcomes, r.Do) {
		return t.misbehave(ctx, in, r)
	}
	after := time.Duration(r.RetryAfterMS) * time.Millisecond
	var o sdk.Outcome
	switch r.Do {
	case "retry":
		o = sdk.Retry("TOLD", "as it was told")
	case "throttled":
		return sdk.Throttled(after, "TOLD", "as it was told")
	case "unauthorized":
		return sdk.Unauthorized("TOLD", "as it was told")
	case "rejected":
		return sdk.Rejected("TOLD", "as it was told")
	default:
		if err := t.write(in, r); err != nil {
			return sdk.Retry("IO", "the file cannot be written")
		}
		o = map[string]sdk.Outcome{"delivered": sdk.Delivered(""), "unchanged": sdk.Unchanged(), "accepted": sdk.Accepted("")}[r.Do]
	}
	o.RetryAfter = after
	return o
}

// line is what is written of a record.
type line struct {
	Key        string          `json:"key"`
	Fields     json.RawMessage `json:"fields,omitempty"`
	ID         string          `json:"id"`
	Withdrawal bool            `json:"withdrawal,omitempty"`
}

// write appends a line. What a process wrote stays when it is killed, so nothing is synced.
func (t *target) write(in sdk.Record, r record) error {
	text, err := json.Marshal(line{r.Key, r.Fields, in.ID, in.Withdrawal})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := os.OpenFile(t.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}

// flood is a line of what floods.
var flood = strings.Repeat("flood ", 20)
