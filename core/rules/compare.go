package rules

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// Direction is which way the records of a citizen go when one rule takes the place of another.
type Direction int

const (
	// Unchanged: the records are the same.
	Unchanged Direction = iota
	// Granted: they did not grant, and do.
	Granted
	// Withdrawn: they granted, and do not.
	Withdrawn
	// Other: they are others, and grant or do not grant as before.
	Other
	// Silenced: there were some, and are none. The target keeps what it was given.
	Silenced
)

// Change is what becomes of one citizen's records.
type Change struct {
	Direction     Direction
	Before, After []json.RawMessage
}

// Compare renders a citizen through both rules as of the same instant. An error is of the rule that comes; one that
// is in force and fails has told its target nothing.
//
// Whether the records before grant is for the rule that is in force to say, as Grants does. Whether those after
// grant is too, where they can be read by it: where one record follows one record, and what the rule in force writes
// differently for yes and for no stands in the new one as either of the two. So a rule that turns yes and no around, or writes
// yes for everybody, does not pass for one that changed its words. Else it is for the new rule to say.
func Compare(before, after *Rule, source string, state consent.State, now time.Time, foundBefore, foundAfter Found) (Change, error) {
	var c Change
	var err error
	if c.Before, err = before.Evaluate(source, state, now, foundBefore); err != nil {
		c.Before = nil
	}
	if c.After, err = after.Evaluate(source, state, now, foundAfter); err != nil {
		return c, err
	}
	switch {
	case equal(c.Before, c.After):
		return c, nil
	case len(c.After) == 0:
		c.Direction = Silenced
		return c, nil
	}
	granted := before.Grants(source, state, now, foundBefore, c.Before)
	grants, readable := before.understands(source, state, now, foundBefore, c.After)
	if !readable {
		grants = after.Grants(source, state, now, foundAfter, c.After)
	}
	switch {
	case grants && !granted:
		c.Direction = Granted
	case granted && !grants:
		c.Direction = Withdrawn
	default:
		c.Direction = Other
	}
	return c, nil
}

// understands says whether another rule's record grants in this rule's words, if it speaks them.
func (r *Rule) understands(source string, state consent.State, now time.Time, found Found, other []json.RawMessage) (grants, readable bool) {
	no, err := r.Evaluate(source, Denied(state, now), now, found)
	if err != nil || len(no) != 1 || len(other) != 1 {
		return false, false
	}
	yes, err := r.Evaluate(source, r.allowed(state, now), now, found)
	if err != nil || len(yes) != 1 {
		return false, false
	}
	ifNo, ifYes, is := Leaves(no[0]), Leaves(yes[0]), Leaves(other[0])
	words := 0
	readable = true
	for at, n := range ifNo {
		y, there := ifYes[at]
		if !there || bytes.Equal(n, y) {
			continue
		}
		words++
		switch {
		case bytes.Equal(is[at], n):
		case bytes.Equal(is[at], y):
			grants = true
		default:
			readable = false
		}
	}
	return grants, words > 0 && (grants || readable)
}

// Step parts the names of a place in Leaves. No name of a record has it.
const Step = "\x00"

// Leaves are the values of a record by where they stand, as names from the outside in with Step between them. Lists are whole,
// and so are empty objects.
func Leaves(record json.RawMessage) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	var walk func(at string, v json.RawMessage)
	walk = func(at string, v json.RawMessage) {
		var fields map[string]json.RawMessage
		if len(v) == 0 || v[0] != '{' || json.Unmarshal(v, &fields) != nil || len(fields) == 0 {
			all[at] = v
			return
		}
		for name, field := range fields {
			if at != "" {
				name = at + Step + name
			}
			walk(name, field)
		}
	}
	walk("", record)
	return all
}
