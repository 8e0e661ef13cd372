package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Record is what a rule rendered for one target, in the plugin's own schema.
type Record struct {
	// ID is stable over retries and replays of one version of a citizen, and new for the next version even
	// where the content is that of an older one. So it serves as an idempotency key. It holds nothing of
	// the person.
	ID string
	// Withdrawal is whether the record carries a withdrawal that the target does not know of yet.
	Withdrawal bool
	// Fields is one JSON object in the shape of Plugin.Record. A null means "clear", an absent name
	// "leave alone", and false is false.
	Fields json.RawMessage
}

// Decode puts the record's fields into v, which is a pointer to a struct with json tags or to a
// map[string]any. Numbers that land in an any are json.Number, so no 64-bit id is rounded. Use
// Optional for fields in which null and absent must be told apart.
func (r Record) Decode(v any) error {
	return decodeExact(r.Fields, v)
}

// Optional is a field that may be absent, null or a value.
type Optional[T any] struct {
	// Present is whether the field stood in the record at all.
	Present bool
	// Null is whether it stood there as null.
	Null  bool
	Value T
}

// UnmarshalJSON is called only for a field that is present.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	*o = Optional[T]{Present: true}
	if bytes.Equal(data, []byte("null")) {
		o.Null = true
		return nil
	}
	return decodeExact(data, &o.Value)
}

func decodeExact(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		// The decoder's own error may quote the value.
		return fmt.Errorf("decode fields: not of the type the plugin expects")
	}
	return nil
}
