package store

import (
	"encoding/json"
	"maps"
	"testing"
)

// TestUnsure: of a rule that is new, and of one that feeds another target, it is known that there is no delivery of another
// source: to look for one takes as long as there are deliveries.
func TestUnsure(t *testing.T) {
	from := map[string]Place{"same": {"s", "mail"}, "moved": {"s", "mail"}, "retargeted": {"s", "mail"}, "gone": {"s", "mail"}, "unsure": {}}
	to := map[string]Place{"same": {"s", "mail"}, "moved": {"other", "mail"}, "retargeted": {"s", "post"}, "new": {"s", "mail"}, "unsure": {"s", "mail"}}
	want := map[string]Place{"same": {"s", "mail"}, "moved": {}, "retargeted": {"s", ""}, "gone": {}, "new": {"s", ""}, "unsure": {}}
	if got := Unsure(from, to); !maps.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestPlaceIsRead(t *testing.T) {
	for _, p := range []Place{{"s", "mail"}, {"s", ""}, {}} {
		data, err := json.Marshal(p)
		var got Place
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil || got != p {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
