package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// same is whether a target holds what it should, leaving out what vendors change of their own: the case of letters,
// how a time is written, whether a number is text. Of a map only the members count that are wanted; null asks for
// nothing to be there.
func same(want, got any) bool {
	switch w := want.(type) {
	case nil:
		return empty(got)
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return len(w) == 0 && empty(got)
		}
		for name, v := range w {
			is, there := g[name]
			if !there && !empty(v) && v != false {
				return false
			}
			if there && !same(v, is) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			return len(w) == 0 && empty(got)
		}
		used := make([]bool, len(g))
	next:
		for _, v := range w {
			for i := range g {
				if !used[i] && same(v, g[i]) {
					used[i] = true
					continue next
				}
			}
			return false
		}
		return true
	case bool:
		g, ok := got.(bool)
		return ok && g == w || !ok && empty(got) && !w
	}
	a, b := scalar(want), scalar(got)
	if strings.EqualFold(a, b) {
		return true
	}
	at, err := time.Parse(time.RFC3339, a)
	bt, errB := time.Parse(time.RFC3339, b)
	return err == nil && errB == nil && at.Truncate(time.Second).Equal(bt.Truncate(time.Second))
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return fmt.Sprint(f)
		}
	case float64:
		return fmt.Sprint(v)
	}
	return fmt.Sprint(v)
}
