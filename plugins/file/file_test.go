package file

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

func open(t *testing.T, path string) *target {
	t.Helper()
	fields, err := json.Marshal(map[string]string{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	made, err := Plugin().New(t.Context(), sdk.Config{Target: "x", Fields: fields}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.(sdk.Closer).Close() })
	return made.(*target)
}

func deliver(t *testing.T, target *target, records ...sdk.Record) []sdk.Outcome {
	t.Helper()
	outcomes := target.Deliver(t.Context(), records)
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes of %d records", len(outcomes), len(records))
	}
	return outcomes
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("file holds\n%s\nwant\n%s", got, want)
	}
}

func record(id, fields string) sdk.Record {
	return sdk.Record{ID: id, Fields: json.RawMessage(fields)}
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	outcomes := deliver(t, target,
		record("1", `{"key":"a","fields":{"z":null,"b":false,"n":9007199254740993,"s":"<é>"}}`),
		sdk.Record{ID: "2", Withdrawal: true, Fields: json.RawMessage(`{"key":"b"}`)},
		record("3", `{"key":"c","fields":null}`),
		record("4", `{"key":"d","fields":["not an object"]}`),
		record("5", `{"key":7}`),
		record("6", "{\"key\":\"e\",\"fields\":{\n \"x\": {}\n}}"),
	)
	for i, want := range []sdk.Kind{sdk.KindDelivered, sdk.KindDelivered, sdk.KindDelivered, sdk.KindRejected, sdk.KindRejected, sdk.KindDelivered} {
		if outcomes[i].Kind != want {
			t.Errorf("outcome %d: %+v, want %v", i+1, outcomes[i], want)
		}
	}
	wantFile(t, path, `{"key":"a","fields":{"z":null,"b":false,"n":9007199254740993,"s":"<é>"},"id":"1"}
{"key":"b","id":"2","withdrawal":true}
{"key":"c","fields":null,"id":"3"}
{"key":"e","fields":{"x":{}},"id":"6"}
`)
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	deliver(t, target, record("1", `{"key":"a"}`))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	deliver(t, target, record("2", `{"key":"a"}`))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	deliver(t, target, record("3", `{"key":"a"}`))
	// Some rotators make the new file themselves.
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(t, target, record("4", `{"key":"a"}`))
	wantFile(t, path+".1", "{\"key\":\"a\",\"id\":\"1\"}\n")
	wantFile(t, path+".2", "{\"key\":\"a\",\"id\":\"3\"}\n")
	wantFile(t, path, "{\"key\":\"a\",\"id\":\"4\"}\n")
}

func TestTornLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte("{\"key\":\"a\",\"id\":\"1\"}\n{\"key\":\"b"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := open(t, path)
	deliver(t, target, record("2", `{"key":"b"}`))
	deliver(t, target, record("3", `{"key":"c"}`))
	wantFile(t, path, `{"key":"a","id":"1"}
{"key":"b
{"key":"b","id":"2"}
{"key":"c","id":"3"}
`)
}

func TestWhatCannotBeWritten(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]string{
		folder:                               "NOT_A_FILE",
		filepath.Join(folder, "fifo"):        "NOT_A_FILE",
		filepath.Join(folder, "no", "x"):     "CANNOT_OPEN",
		filepath.Join(folder, "plain", "x"):  "CANNOT_OPEN",
		"/proc/consentd-cannot-be-made-here": "CANNOT_OPEN",
	} {
		target := open(t, path)
		if o := deliver(t, target, record("1", `{"key":"a"}`))[0]; o.Kind != sdk.KindUnauthorized || o.Code != code || strings.Contains(o.Message, folder) {
			t.Errorf("%s: deliver %+v, want %s", path, o, code)
		}
		if strings.HasPrefix(path, "/proc") {
			continue // its folder looks writable
		}
		if o := target.Check(t.Context()); o.Kind != sdk.KindUnauthorized || o.Code != code {
			t.Errorf("%s: check %+v, want %s", path, o, code)
		}
	}
}

// /dev/full answers every write with ENOSPC.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	deliver(t, target, record("1", `{"key":"a"}`))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	_, err = full.WriteString("x")
	full.Close()
	if o := outcomeOf(err); o.Kind != sdk.KindRetry || o.Code != "DISK_FULL" {
		t.Errorf("outcome %+v", o)
	}

	// A write that fails halfway must not glue the next line to what it left.
	target.mu.Lock()
	target.file.WriteString(`{"key":"b`)
	target.file.Close()
	target.mu.Unlock()
	if o := deliver(t, target, record("2", `{"key":"b"}`))[0]; o.Kind != sdk.KindRetry && o.Kind != sdk.KindDelivered {
		t.Errorf("outcome %+v", o)
	}
	if o := deliver(t, target, record("2", `{"key":"b"}`))[0]; o.Kind != sdk.KindDelivered {
		t.Errorf("outcome %+v", o)
	}
	got, _ := os.ReadFile(path)
	if !strings.Contains(string(got), "\n{\"key\":\"b\n{\"key\":\"b\",\"id\":\"2\"}\n") {
		t.Errorf("file holds\n%s", got)
	}
}

func TestContextThatHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outcomes := target.Deliver(ctx, []sdk.Record{record("1", `{"key":"a"}`), record("2", `{"key":1}`)})
	if outcomes[0].Kind != sdk.KindRetry || outcomes[1].Kind != sdk.KindRejected {
		t.Errorf("outcomes %+v", outcomes)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("it wrote")
	}
}

func TestCheckChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	if o := target.Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("absent: %+v", o)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the check made the file")
	}
	deliver(t, target, record("1", `{"key":"a"}`))
	if o := target.Check(t.Context()); o.Kind != sdk.KindDelivered {
		t.Errorf("present: %+v", o)
	}
	wantFile(t, path, "{\"key\":\"a\",\"id\":\"1\"}\n")
}

func TestAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	target := open(t, path)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 20 {
				target.Deliver(context.Background(), []sdk.Record{record("1", `{"key":"a"}`), record("2", `{"key":"b"}`)})
			}
		})
	}
	calls.Wait()
	wantFile(t, path, strings.Repeat("{\"key\":\"a\",\"id\":\"1\"}\n{\"key\":\"b\",\"id\":\"2\"}\n", 160))
}

func TestEmptyPath(t *testing.T) {
	_, err := Plugin().New(t.Context(), sdk.Config{Fields: json.RawMessage(`{"path":""}`)}, hclog.NewNullLogger())
	var mistake *sdk.ConfigError
	if !errors.As(err, &mistake) || mistake.Path[0] != "path" {
		t.Errorf("error %v", err)
	}
}
