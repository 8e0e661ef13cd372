package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Config is the config block of one target. It fits Plugin.Config: where it does not, New is not called.
type Config struct {
	// Target is the name of the target block.
	Target string
	// Fields is one JSON object in the shape of Plugin.Config.
	Fields json.RawMessage
}

// Decode puts the configuration into v, a pointer to a struct with json tags.
func (c Config) Decode(v any) error {
	return decodeExact(c.Fields, v)
}

// ConfigError is a mistake in a configuration, with the place where it was made.
type ConfigError struct {
	// Path leads from the config block down: attribute and block names, map keys, list indexes.
	Path    []string
	Summary string
	Detail  string
}

func (e *ConfigError) Error() string {
	text := e.Summary
	if len(e.Path) > 0 {
		text = strings.Join(e.Path, ".") + ": " + text
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// InvalidConfig reports a mistake at path ("api_key", "headers.X-Team", "auth.token"; empty for the
// whole block). The text says what is wrong and what to write instead, and never holds a sensitive
// value. Several mistakes are joined with errors.Join.
func InvalidConfig(path, format string, args ...any) error {
	e := &ConfigError{Summary: "Invalid configuration", Detail: fmt.Sprintf(format, args...)}
	if path != "" {
		e.Path = strings.Split(path, ".")
	}
	return e
}

// configErrors unfolds what New returned into its single mistakes.
func configErrors(err error) []*ConfigError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*ConfigError
		for _, e := range joined.Unwrap() {
			all = append(all, configErrors(e)...)
		}
		return all
	}
	var one *ConfigError
	if errors.As(err, &one) {
		return []*ConfigError{one}
	}
	return []*ConfigError{{Summary: "Target cannot be made", Detail: err.Error()}}
}
