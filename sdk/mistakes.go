package sdk

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Mistakes holds one JSON object against the schema and returns what is missing, unknown, of another
// type or not in its enum, each with its path and none with a value. A null stands for an absent
// attribute. The host finds most of these earlier, where they were written; this is for whoever speaks
// to the plugin without it.
func (s Schema) Mistakes(fields json.RawMessage) []*ConfigError {
	var v map[string]any
	if len(fields) == 0 || decodeExact(fields, &v) != nil || v == nil {
		return []*ConfigError{{Summary: invalid, Detail: "must be one JSON object"}}
	}
	return s.mistakes(nil, v)
}

const invalid = "Invalid configuration"

func (s Schema) mistakes(at []string, fields map[string]any) []*ConfigError {
	var all []*ConfigError
	report := func(detail string, path ...string) {
		all = append(all, &ConfigError{Path: append(slices.Clone(at), path...), Summary: invalid, Detail: detail})
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		_, attribute := s.Attributes[name]
		_, block := s.Blocks[name]
		if !attribute && !block {
			report("is not one of the names that there are", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		a, v := s.Attributes[name], fields[name]
		switch text, isString := v.(string); {
		case v == nil && a.Required:
			report("is required", name)
		case v == nil:
		case !fits(a.Type, v):
			report("must be of type "+a.Type, name)
		case isString && len(a.Enum) > 0 && !slices.Contains(a.Enum, text):
			report("must be one of "+strings.Join(a.Enum, ", "), name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Blocks)) {
		b := s.Blocks[name]
		inside := func(v any, path ...string) {
			if body, ok := v.(map[string]any); ok {
				all = append(all, b.Body.mistakes(append(slices.Clone(at), path...), body)...)
			} else {
				report("must be a block", path...)
			}
		}
		switch v := fields[name].(type) {
		case nil:
			if b.Required {
				report("is a block that is required", name)
			}
		case []any:
			if !b.Repeated {
				report("must stand once", name)
				continue
			}
			if b.Required && len(v) == 0 {
				report("is a block that is required", name)
			}
			for i, one := range v {
				inside(one, name, strconv.Itoa(i))
			}
		default:
			if b.Repeated {
				report("must be a list of blocks", name)
				continue
			}
			inside(v, name)
		}
	}
	return all
}

// fits is whether a value is of a type as HCL writes it. Types that are not simple or a collection of
// one type are left to the plugin, as are nulls in a collection.
func fits(typ string, v any) bool {
	if v == nil {
		return true
	}
	switch typ {
	case "string":
		_, ok := v.(string)
		return ok
	case "number":
		_, ok := v.(json.Number)
		return ok
	case "bool":
		_, ok := v.(bool)
		return ok
	}
	collection, element, ok := strings.Cut(strings.TrimSuffix(typ, ")"), "(")
	if !ok {
		return true
	}
	switch collection {
	case "list", "set":
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(list, func(e any) bool { return !fits(element, e) })
	case "map":
		m, ok := v.(map[string]any)
		for _, e := range m {
			ok = ok && fits(element, e)
		}
		return ok
	}
	return true
}
