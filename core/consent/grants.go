package consent

import (
	"slices"
	"strings"
	"time"
)

const (
	allowedMark = '+'
	deniedMark  = '-'
	separator   = "\x1f"
)

// grants writes the lines of Citizen.Grants: a mark and the key, sorted by key. Where one key stands
// more than once, one that denies wins.
func grants(s State, now time.Time) string {
	marks := make(map[Key]byte, len(s.Permissions))
	for _, p := range s.Permissions {
		if p.Allowed(now) && marks[p.Key()] != deniedMark {
			marks[p.Key()] = allowedMark
		} else {
			marks[p.Key()] = deniedMark
		}
	}
	lines := make([]string, 0, len(marks))
	for k, mark := range marks {
		lines = append(lines, k.OptionType+separator+k.OptionID+separator+k.Justification+separator+string(mark))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Refuses is whether anything that the sender ever named of the citizen was not allowed when the newest state came in.
func (c Citizen) Refuses() bool {
	for _, mark := range parseGrants(c.Grants) {
		if mark != allowedMark {
			return true
		}
	}
	return false
}

// compare finds what was allowed before and is not now, and which keys are not named any more.
func compare(before, now string) (withdrawal bool, vanished []Key) {
	after := map[Key]byte{}
	for k, mark := range parseGrants(now) {
		after[k] = mark
	}
	for k, mark := range parseGrants(before) {
		current, named := after[k]
		if mark == allowedMark && current != allowedMark {
			withdrawal = true
		}
		if !named {
			vanished = append(vanished, k)
		}
	}
	return withdrawal, vanished
}

func parseGrants(lines string) func(yield func(Key, byte) bool) {
	return func(yield func(Key, byte) bool) {
		for line := range strings.SplitSeq(lines, "\n") {
			if f := strings.Split(line, separator); len(f) == 4 && f[3] != "" {
				if !yield(Key{f[0], f[1], f[2]}, f[3][0]) {
					return
				}
			}
		}
	}
}
