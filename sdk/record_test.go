package sdk

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestOptional(t *testing.T) {
	type fields struct {
		Flag Optional[bool]            `json:"flag"`
		Name Optional[string]          `json:"name"`
		Map  Optional[map[string]any]  `json:"map"`
		Raw  Optional[json.RawMessage] `json:"raw"`
	}
	var f fields
	err := Record{Fields: json.RawMessage(`{"flag":false,"name":null,"map":{"id":9007199254740993},"raw":[1]}`)}.Decode(&f)
	if err != nil {
		t.Fatal(err)
	}
	if f.Flag != (Optional[bool]{Present: true}) {
		t.Errorf("false: %+v", f.Flag)
	}
	if f.Name != (Optional[string]{Present: true, Null: true}) {
		t.Errorf("null: %+v", f.Name)
	}
	if f.Map.Value["id"] != json.Number("9007199254740993") {
		t.Errorf("number: %#v", f.Map.Value["id"])
	}
	if string(f.Raw.Value) != "[1]" {
		t.Errorf("raw: %s", f.Raw.Value)
	}
	f = fields{}
	if err := (Record{Fields: json.RawMessage(`{}`)}).Decode(&f); err != nil || f.Flag.Present || f.Name.Present {
		t.Errorf("absent: %+v, %v", f, err)
	}
}

func TestDecodeErrorHoldsNoValue(t *testing.T) {
	var v struct{ N Optional[int] }
	for _, fields := range []string{`{"N":"ann@example.com"}`, `{"N":`, `ann@example.com`, ``} {
		err := Record{Fields: json.RawMessage(fields)}.Decode(&v)
		if err == nil || strings.Contains(err.Error(), "ann") {
			t.Errorf("%s: %v", fields, err)
		}
	}
}
