package lookup

import (
	"fmt"

	"github.com/zclconf/go-cty/cty"
)

// Answer is what rules read of what a system knows of a person: an object with all fields, null where nothing
// is known. The error is a *Missing, when a field is not known that is not optional.
func (c Config) Answer(values map[string]cty.Value) (cty.Value, error) {
	object := make(map[string]cty.Value, len(c.Fields))
	for _, f := range c.Fields {
		v, ok := values[f.Name]
		if !ok {
			v = cty.NullVal(f.Type)
		}
		if v.IsNull() && !f.Optional {
			return cty.NilVal, &Missing{c.Name, fmt.Sprintf("knows no %s of them", f.Name)}
		}
		object[f.Name] = v
	}
	return cty.ObjectVal(object), nil
}
