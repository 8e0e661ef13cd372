package chaos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk/sdktest"
)

// Left alone, it behaves.
func TestConformance(t *testing.T) {
	sdktest.Run(t, sdktest.Suite{
		Plugin: Plugin,
		Config: map[string]any{"path": sdktest.Dir + "/out.jsonl"},
		Vendor: func(dir string) sdktest.Vendor {
			return sdktest.Vendor{State: func() any { return newest(filepath.Join(dir, "out.jsonl")) }}
		},
		Record: func(person string, allowed bool) map[string]any {
			return map[string]any{"key": person, "fields": map[string]any{"newsletter": allowed}}
		},
		Rejected: func(person string) map[string]any {
			return map[string]any{"key": person, "do": "rejected"}
		},
		Presence: func(person string) sdktest.Presence {
			with := func(fields map[string]any) map[string]any {
				return map[string]any{"key": person, "fields": fields}
			}
			return sdktest.Presence{
				Set:    with(map[string]any{"newsletter": true}),
				Null:   with(map[string]any{"newsletter": nil}),
				Absent: with(map[string]any{}),
				False:  with(map[string]any{"newsletter": false}),
			}
		},
		Skip: map[string]string{
			"http":   "it writes a file",
			"cancel": "it hangs when it is told to, and then for good",
			"late":   "it is there to write after its time is over",
		},
	})
}

// newest is what holds: the newest fields of each key.
func newest(path string) map[string]string {
	held := map[string]string{}
	data, _ := os.ReadFile(path) // nobody is known where there is no file
	for text := range strings.Lines(string(data)) {
		var l struct {
			Key    string
			Fields json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			held["damaged"] = text
		}
		held[l.Key] = string(l.Fields)
	}
	return held
}
