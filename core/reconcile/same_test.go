package reconcile

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestSame(t *testing.T) {
	for name, tc := range map[string]struct {
		want, got string
		same      bool
	}{
		"equal":                      {`"a"`, `"a"`, true},
		"other":                      {`"a"`, `"b"`, false},
		"case":                       {`"Ada@Example.org"`, `"ada@example.org"`, true},
		"number as text":             {`1`, `"1"`, true},
		"number otherwise written":   {`1.0`, `1`, true},
		"time otherwise written":     {`"2026-03-02T09:00:00Z"`, `"2026-03-02T10:00:00+01:00"`, true},
		"other time":                 {`"2026-03-02T09:00:00Z"`, `"2026-03-02T09:00:00+01:00"`, false},
		"null and nothing":           {`null`, `""`, true},
		"null and something":         {`null`, `"a"`, false},
		"false and nothing":          {`false`, `null`, true},
		"true and nothing":           {`true`, `null`, false},
		"true and false":             {`true`, `false`, false},
		"map, what is wanted":        {`{"a": 1}`, `{"a": 1, "b": 2}`, true},
		"map, another value":         {`{"a": 1}`, `{"a": 2}`, false},
		"map, a member is missing":   {`{"a": 1}`, `{"b": 2}`, false},
		"map, false and not there":   {`{"a": false}`, `{}`, true},
		"map, null and not there":    {`{"a": null}`, `{}`, true},
		"map, null and there":        {`{"a": null}`, `{"a": 1}`, false},
		"empty map and nothing":      {`{}`, `null`, true},
		"list, another order":        {`["a", "b"]`, `["b", "a"]`, true},
		"list, one twice":            {`["a", "a"]`, `["a", "b"]`, false},
		"list, one more":             {`["a"]`, `["a", "b"]`, false},
		"empty list and nothing":     {`[]`, `null`, true},
		"text where a map is wanted": {`{"a": 1}`, `"a"`, false},
	} {
		var want, got any
		if err := errors.Join(json.Unmarshal([]byte(tc.want), &want), json.Unmarshal([]byte(tc.got), &got)); err != nil {
			t.Fatal(err)
		}
		if is := same(want, got); is != tc.same {
			t.Errorf("%s: %v", name, is)
		}
	}
}

// Which way a difference goes is told by what the record would be if everything were denied, or allowed.
func TestWithdraws(t *testing.T) {
	denied := object([]byte(`{"email": "a", "status": "no", "tags": {"news": false, "vip": true}, "out": true}`))
	granted := object([]byte(`{"email": "a", "status": "yes", "tags": {"news": true, "vip": true}, "out": false}`))
	for name, tc := range map[string]struct {
		is, got     string
		differ      []string
		withdrawing []string
	}{
		"nothing differs":            {"denied", `{"email": "A", "status": "no"}`, nil, nil},
		"a withdrawal is undone":     {"denied", `{"status": "yes"}`, []string{"status"}, []string{"status"}},
		"a grant is undone":          {"granted", `{"status": "no"}`, []string{"status"}, nil},
		"an opt-out is undone":       {"denied", `{"out": false}`, []string{"out"}, []string{"out"}},
		"what has no part in it":     {"denied", `{"email": "b"}`, []string{"email"}, nil},
		"a member withdraws":         {"denied", `{"tags": {"news": true, "vip": true}}`, []string{"tags"}, []string{"tags"}},
		"a member has no part in it": {"denied", `{"tags": {"news": false, "vip": false}}`, []string{"tags"}, nil},
		"what is not told":           {"denied", `{}`, nil, nil},
	} {
		w := wanted{fields: denied, denied: denied, granted: granted}
		if tc.is == "granted" {
			w.fields = granted
		}
		got := object([]byte(tc.got))
		differ := differences(w.fields, got)
		var withdrawing []string
		for _, f := range differ {
			if w.withdraws(f, got[f]) {
				withdrawing = append(withdrawing, f)
			}
		}
		if !slices.Equal(differ, tc.differ) || !slices.Equal(withdrawing, tc.withdrawing) {
			t.Errorf("%s: %v differ, %v withdraw", name, differ, withdrawing)
		}
	}
	if w := (wanted{fields: denied}); !w.withdraws("email", "b") {
		t.Error("what cannot be told is not taken for a withdrawal")
	}
}
