package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

// Sample is one record that would change, without what is personal.
type Sample struct {
	Rule string `json:"rule"`
	// Direction is as in Counts: granted, withdrawn, other, silenced, new; "new, granted" and gone.
	Direction string `json:"direction"`
	// Citizen is the keyed hash by which logs and receipts know who it is.
	Citizen string       `json:"citizen"`
	Fields  []Difference `json:"fields"`

	number int64
}

// Difference is one value that differs. Masked stands for what may be personal, and Absent for what is not there.
type Difference struct {
	At     string `json:"at"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// What stands for values.
const (
	Masked = "(masked)"
	Absent = "(absent)"
)

// wanted is whether one more sample of a direction is. A worker meets citizens in the order of their numbers, so what it keeps are
// the first it meets, and of all of those the first ones are kept: the same plan has the same samples.
func wanted(all []Sample, direction string, most int) bool {
	n := 0
	for _, s := range all {
		if s.Direction == direction {
			n++
		}
	}
	return n < most
}

// keep puts a sample among the others, and drops what is too many of its direction.
func keep(all []Sample, one Sample, most int) []Sample {
	i, _ := slices.BinarySearchFunc(all, one, func(a, b Sample) int {
		if c := strings.Compare(a.Direction, b.Direction); c != 0 {
			return c
		}
		return int(min(max(a.number-b.number, -1), 1))
	})
	all = slices.Insert(all, i, one)
	n := 0
	return slices.DeleteFunc(all, func(s Sample) bool {
		if s.Direction == one.Direction {
			n++
		}
		return s.Direction == one.Direction && n > most
	})
}

func (o *Options) sample(k store.Known, p pair, direction string, c rules.Change) Sample {
	s := Sample{
		Direction: direction, number: k.Number, Fields: []Difference{},
		Citizen: fmt.Sprintf("%x", store.Subject(o.HashKey, k.Source, k.CitizenID)),
	}
	schema := o.After.Records[p.target]
	if p.after != nil {
		s.Rule = p.after.Name
	} else {
		s.Rule, schema = p.before.Name, o.Before.Records[p.target]
	}
	if len(c.Before) != len(c.After) {
		s.Fields = append(s.Fields, Difference{"records", fmt.Sprint(len(c.Before)), fmt.Sprint(len(c.After))})
	}
	for i := range max(len(c.Before), len(c.After)) {
		if len(c.Before) > 0 && i >= len(c.Before) || len(c.After) > 0 && i >= len(c.After) {
			break // which of several it is that came or went cannot be told
		}
		s.Fields = append(s.Fields, differences(schema, nth(c.Before, i), nth(c.After, i))...)
	}
	return s
}

func nth(records []json.RawMessage, i int) json.RawMessage {
	if i < len(records) {
		return records[i]
	}
	return nil
}

// differences are the values that differ between two records; either may be nil.
func differences(schema sdk.Schema, before, after json.RawMessage) []Difference {
	was, is := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if before != nil {
		was = rules.Leaves(before)
	}
	if after != nil {
		is = rules.Leaves(after)
	}
	places := maps.Clone(was)
	maps.Copy(places, is)
	var all []Difference
	for _, at := range slices.Sorted(maps.Keys(places)) {
		if string(was[at]) == string(is[at]) {
			continue
		}
		shown, show := mask(schema, strings.Split(at, rules.Step))
		all = append(all, Difference{shown, show(was[at]), show(is[at])})
	}
	return all
}

// mask says how a place in a record is called, and how a value there shows. Only what the schema names, and values out of a
// closed list, are known to be no one's.
func mask(schema sdk.Schema, names []string) (string, func(json.RawMessage) string) {
	if block, ok := schema.Blocks[names[0]]; ok {
		if block.Repeated || len(names) == 1 {
			return names[0], hide
		}
		at, show := mask(block.Body, names[1:])
		return names[0] + "." + at, show
	}
	attribute, ok := schema.Attributes[names[0]]
	if !ok {
		return Masked, hide
	}
	at := names[0]
	element := attribute.Type
	if inner, ok := strings.CutPrefix(element, "map("); ok && len(names) == 2 {
		at, element = at+"."+Masked, strings.TrimSuffix(inner, ")")
	} else if len(names) > 1 {
		return at, hide
	}
	switch {
	case attribute.Sensitive:
		return at, hide
	case element == "bool":
		return at, reveal(func(v string) bool { return v == "true" || v == "false" })
	case element == "string" && len(attribute.Enum) > 0:
		return at, reveal(func(v string) bool {
			var text string
			return json.Unmarshal([]byte(v), &text) == nil && slices.Contains(attribute.Enum, text)
		})
	}
	return at, hide
}

func hide(v json.RawMessage) string { return reveal(func(string) bool { return false })(v) }

// reveal shows what a condition allows, and of everything else whether it is there and is something.
func reveal(may func(string) bool) func(json.RawMessage) string {
	return func(v json.RawMessage) string {
		switch text := string(v); {
		case v == nil:
			return Absent
		case text == "null" || may(text):
			return text
		}
		return Masked
	}
}
