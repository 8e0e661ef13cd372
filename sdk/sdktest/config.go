package sdktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// encode is for data that the kit has looked at, or that Mistakes is about to refuse.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return data
}

// checkConfig breaks the configuration in one place at a time.
func checkConfig(s *Suite) error {
	w, err := open(s)
	if err != nil {
		return err
	}
	defer w.close()
	var wrong []error
	try := func(what, path string, change func(map[string]any)) {
		if err := refuses(s, path, change); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.plugin.Config.Attributes)) {
		a := w.plugin.Config.Attributes[name]
		if a.Required {
			try(name+" is missing", name, func(c map[string]any) { delete(c, name) })
			if a.Type == "string" {
				try(name+" is empty, as an environment variable may be", name, func(c map[string]any) { c[name] = "" })
			}
		}
		if a.Type != "any" {
			try(name+" is of another type", name, func(c map[string]any) { c[name] = []any{map[string]any{"kit": true}} })
		}
		if len(a.Enum) > 0 {
			try(name+" is none of its Enum", name, func(c map[string]any) { c[name] = "kit_no_such_word" })
		}
	}
	try("there is a name that the schema does not have", "kit_unknown", func(c map[string]any) { c["kit_unknown"] = true })
	for _, path := range slices.Sorted(maps.Keys(s.WrongConfig)) {
		try(fmt.Sprintf("%s is %v", path, s.WrongConfig[path]), path, func(c map[string]any) {
			set(c, strings.Split(path, "."), s.WrongConfig[path])
		})
	}
	return errors.Join(wrong...)
}

// refuses is whether a changed configuration is answered with a mistake at the path or around it.
func refuses(s *Suite, path string, change func(map[string]any)) error {
	w, err := open(s)
	if err != nil {
		return err
	}
	defer w.close()
	change(w.config)
	mistakes, err := w.configure(w.config)
	if err != nil {
		return err
	}
	if len(mistakes) == 0 {
		return fmt.Errorf("it was taken: return sdk.InvalidConfig(%q, ...) from New", path)
	}
	var paths []string
	for _, m := range mistakes {
		at := strings.Join(m.Path, ".")
		if m.Detail == "" {
			return fmt.Errorf("the mistake at %q has no text: say what to write instead", at)
		}
		if at != "" && (at == path || strings.HasPrefix(path, at+".")) {
			return nil
		}
		paths = append(paths, strconv.Quote(at))
	}
	return fmt.Errorf("the mistake was reported at %s: return sdk.InvalidConfig(%q, ...) from New, so that its line is shown", strings.Join(paths, ", "), path)
}

// set puts a value into a copy of what leads to it.
func set(fields map[string]any, path []string, value any) {
	if len(path) == 1 {
		fields[path[0]] = value
		return
	}
	inner, _ := fields[path[0]].(map[string]any)
	inner = maps.Clone(inner)
	if inner == nil {
		inner = map[string]any{}
	}
	fields[path[0]] = inner
	set(inner, path[1:], value)
}
