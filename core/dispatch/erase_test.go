package dispatch

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

func TestErase(t *testing.T) {
	outcomes := []sdk.Outcome{
		sdk.Throttled(40*time.Second, "429", "slow down"), sdk.Unauthorized("401", "key"), sdk.Rejected("422", "no"), sdk.Delivered(""),
	}
	var asked []time.Duration
	var began time.Time
	erases := func(target *Target) {
		began = time.Now()
		target.Erase = func(_ context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
			if len(records) != 1 || string(records[0].Fields) != `{"key":"ada"}` {
				t.Errorf("records %v", records)
			}
			asked = append(asked, time.Since(began).Round(time.Second))
			return []sdk.Outcome{outcomes[min(len(asked), len(outcomes))-1]}, nil
		}
	}
	run(t, "until the target confirms", erases, func(t *testing.T, w *world) {
		w.accept("ada", "GRANTED")
		w.settle()
		_, err := w.store.Erase(context.Background(), "dataguard", "ada", time.Now(), func(consent.State) ([]store.ErasureRequest, error) {
			return []store.ErasureRequest{{Rule: "newsletter", Target: "mail", Records: []json.RawMessage{[]byte(`{"key":"ada"}`)}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.accept("ada", "GRANTED") // comes back, and waits
		time.Sleep(5 * time.Minute)
		w.settle()
		if len(asked) != len(outcomes) {
			t.Fatalf("asked %v, want %d times", asked, len(outcomes))
		}
		if wait := asked[1] - asked[0]; wait < 40*time.Second {
			t.Errorf("asked again after %v, which the vendor forbade", wait)
		}
		w.expect("ada GRANTED", "ada GRANTED")
		r, err := w.store.Receipts(context.Background(), "dataguard", "ada")
		if err != nil || len(r) != 3 || r[1].Outcome != "erased" {
			t.Errorf("receipts %+v, %v", r, err)
		}
	})
}
