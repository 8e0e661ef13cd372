package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk"
)

type item struct{ Group, Key, Say string }

// vendor takes at most four items a call, and nobody twice. Items say what becomes of them.
type vendor struct {
	t     *testing.T
	calls []string
}

func (v *vendor) call() Call[item] {
	return Call[item]{
		Max: 4,
		Parse: func(r sdk.Record) (it item, err error) {
			if r.Decode(&it) != nil {
				err = sdk.Rejected("INVALID_RECORD", "no").Err()
			}
			return it, err
		},
		Group: func(it item) string { return it.Group },
		Key:   func(it item) string { return strings.ToLower(it.Key) },
		Send:  v.send,
	}
}

func (v *vendor) send(_ context.Context, items []item) ([]sdk.Outcome, error) {
	var keys []string
	var outcomes []sdk.Outcome
	for _, it := range items {
		if it.Group != items[0].Group || len(items) > 4 {
			v.t.Errorf("one call with %v", items)
		}
		keys = append(keys, it.Key)
		outcomes = append(outcomes, sdk.Delivered(it.Key))
	}
	v.calls = append(v.calls, strings.Join(keys, ","))
	for _, it := range items {
		switch it.Say {
		case "poison":
			return nil, sdk.Rejected("POISON", "no").Err()
		case "later":
			return nil, Divisible(sdk.Retry("LATER", "no").Err())
		case "down":
			return nil, sdk.Retry("DOWN", "no").Err()
		case "short":
			return outcomes[1:], nil
		}
	}
	return outcomes, nil
}

func records(t *testing.T, items ...item) []sdk.Record {
	t.Helper()
	var all []sdk.Record
	for _, it := range items {
		data, err := json.Marshal(it)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sdk.Record{Fields: data})
	}
	return all
}

func codes(outcomes []sdk.Outcome) string {
	var all []string
	for _, o := range outcomes {
		all = append(all, o.Code+o.Reference)
	}
	return strings.Join(all, " ")
}

func TestDeliver(t *testing.T) {
	for name, tc := range map[string]struct {
		items []item
		calls []string
		want  string
	}{
		"nothing":          {nil, nil, ""},
		"more than a call": {[]item{{Key: "1"}, {Key: "2"}, {Key: "3"}, {Key: "4"}, {Key: "5"}}, []string{"1,2,3,4", "5"}, "1 2 3 4 5"},
		"groups":           {[]item{{"a", "1", ""}, {"b", "2", ""}, {"a", "3", ""}, {"b", "1", ""}}, []string{"1,3", "2,1"}, "1 2 3 1"},
		"one person twice": {[]item{{Key: "x"}, {Key: "1"}, {Key: "X"}, {Key: "x"}}, []string{"x,1", "X", "x"}, "x 1 X x"},
		"poison":           {[]item{{Key: "1"}, {Key: "2"}, {Key: "3", Say: "poison"}, {Key: "4"}}, []string{"1,2,3,4", "1,2", "3,4", "3", "4"}, "1 2 POISON 4"},
		"poison alone":     {[]item{{Key: "1", Say: "poison"}}, []string{"1"}, "POISON"},
		"one to blame":     {[]item{{Key: "1", Say: "later"}, {Key: "2"}}, []string{"1,2", "1", "2"}, "LATER 2"},
		"nobody to blame":  {[]item{{Key: "1"}, {Key: "2", Say: "down"}, {Key: "3"}}, []string{"1,2,3"}, "DOWN DOWN DOWN"},
		"too few results":  {[]item{{Key: "1"}, {Key: "2", Say: "short"}}, []string{"1,2"}, "ROW_COUNT_MISMATCH ROW_COUNT_MISMATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vendor{t: t}
			got := v.call().Deliver(t.Context(), records(t, tc.items...))
			if codes(got) != tc.want || !reflect.DeepEqual(v.calls, tc.calls) {
				t.Errorf("outcomes %q by calls %q, want %q by %q", codes(got), v.calls, tc.want, tc.calls)
			}
		})
	}
}

func TestRecordThatIsNone(t *testing.T) {
	v := &vendor{t: t}
	all := append([]sdk.Record{{Fields: json.RawMessage(`[]`)}}, records(t, item{Key: "1"})...)
	if got := codes(v.call().Deliver(t.Context(), all)); got != "INVALID_RECORD 1" || len(v.calls) != 1 {
		t.Errorf("%s by %q", got, v.calls)
	}
}

func TestWithoutGroupAndKey(t *testing.T) {
	c := (&vendor{t: t}).call()
	c.Group, c.Key = nil, nil
	if got := codes(c.Deliver(t.Context(), records(t, item{Key: "1"}, item{Key: "1"}))); got != "1 1" {
		t.Errorf("%s", got)
	}
	if Divisible(nil) != nil || fmt.Sprint(Divisible(context.Canceled)) != "context canceled" {
		t.Error("Divisible changes what it is given")
	}
}
