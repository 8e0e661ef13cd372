package lookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

var errValue = errors.New("not a value of the type")

// convertTo makes a plain value of what a JSON document or a database has. nil is null.
func convertTo(t cty.Type, from any) (cty.Value, error) {
	var v cty.Value
	switch from := from.(type) {
	case nil:
		return cty.NullVal(t), nil
	case string:
		v = cty.StringVal(from)
		if !utf8.ValidString(from) {
			return v, errValue
		}
	case []byte:
		return convertTo(t, string(from))
	case bool:
		v = cty.BoolVal(from)
	case json.Number:
		if t == cty.String {
			return cty.StringVal(from.String()), nil // as it was written
		}
		return convertTo(t, from.String())
	case int64:
		v = cty.NumberIntVal(from)
	case float64:
		v = cty.NumberFloatVal(from)
	case time.Time:
		v = cty.StringVal(from.UTC().Format(time.RFC3339Nano))
	default:
		s, ok := from.(fmt.Stringer)
		if !ok {
			return v, errValue
		}
		v = cty.StringVal(s.String())
	}
	if t == cty.Bool && v.Type() == cty.Number { // as databases have it
		return cty.BoolVal(!v.RawEquals(cty.Zero)), nil
	}
	out, err := convert.Convert(v, t)
	if err != nil {
		return out, errValue
	}
	return out, nil
}
