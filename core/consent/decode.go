package consent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Identifier is a string that the sender may also write as a number.
type Identifier string

// UnmarshalJSONFrom takes a string, a number as it is written, or null.
func (i *Identifier) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case '"':
		s, err := jsontext.AppendUnquote(nil, v)
		*i = Identifier(s)
		return err
	case '0':
		*i = Identifier(v)
		return nil
	case 'n':
		*i = ""
		return nil
	}
	return errors.New("must be a string or a number")
}

// Decode reads a message tolerantly: unknown names are ignored, null is absent, either array may be
// missing. What it refuses is what it could misread: malformed JSON, a name that stands twice, invalid
// UTF-8, a time that is not RFC 3339, a missing citizenId, and a message without any time to order it
// by. The error never quotes a value.
func Decode(body []byte) (State, error) {
	var s State
	if err := json.Unmarshal(body, &s); err != nil {
		return State{}, describe(err)
	}
	if s.CitizenID == "" {
		return State{}, errors.New("citizenId is missing")
	}
	for i, p := range s.Permissions {
		if p.OptionID == "" || p.OptionType == "" {
			return State{}, fmt.Errorf("permissions[%d] has no optionId or no optionType", i)
		}
		// What Grants is written with must not stand in what it is written of.
		if strings.ContainsAny(p.OptionType+p.OptionID+p.Justification, separator+"\n") {
			return State{}, fmt.Errorf("permissions[%d] has a control character in what identifies it", i)
		}
	}
	for i, p := range s.Preferences {
		if p.Preference == "" {
			return State{}, fmt.Errorf("preferences[%d] has no preference", i)
		}
	}
	if s.SentAt.IsZero() && s.Evidence().IsZero() {
		return State{}, errors.New("sentAt is missing, and nothing else in the message says when it was true")
	}
	return s, nil
}

// Encode writes a State in the sender's shape.
func Encode(s State) []byte {
	body, err := json.Marshal(s)
	if err != nil {
		// A State holds strings and times alone; both were decoded from JSON.
		panic(fmt.Sprintf("encode state: %v", err))
	}
	return body
}

// describe keeps the place of a decoding error and drops its text, which may quote the message.
func describe(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return fmt.Errorf("unexpected value at %s", place(semantic.JSONPointer))
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("a name stands twice in one object, at byte %d", syntactic.ByteOffset)
		}
		return fmt.Errorf("malformed JSON at byte %d", syntactic.ByteOffset)
	}
	return errors.New("malformed JSON")
}

func place(p jsontext.Pointer) string {
	if p == "" {
		return "the top"
	}
	return string(p)
}

// truncate cuts a time to what every store keeps.
func truncate(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}
