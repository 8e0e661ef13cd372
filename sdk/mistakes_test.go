package sdk

import (
	"slices"
	"strings"
	"testing"
)

func TestMistakes(t *testing.T) {
	s := Schema{
		Attributes: map[string]Attribute{
			"key":   {Type: "string", Required: true, Sensitive: true},
			"mode":  {Type: "string", Enum: []string{"a", "b"}},
			"size":  {Type: "number"},
			"flags": {Type: "map(list(bool))"},
			"any":   {Type: "any"},
		},
		Blocks: map[string]Block{
			"auth": {Body: Schema{Attributes: map[string]Attribute{"user": {Type: "string", Required: true}}}},
			"more": {Repeated: true, Body: Schema{Attributes: map[string]Attribute{"on": {Type: "bool"}}}},
		},
	}
	for fields, want := range map[string]string{
		`{"key":"s3cret"}`: "",
		`{"key":"s3cret","mode":"b","size":1e3,"flags":{"x":[true,null]},"any":[1],"auth":{"user":"u"},"more":[{"on":true},{}]}`: "",
		`{"key":"s3cret","mode":null,"auth":null}`: "",
		``:                            ": must be one JSON object",
		`null`:                        ": must be one JSON object",
		`{}`:                          "key: is required",
		`{"key":null}`:                "key: is required",
		`{"key":["s3cret"]}`:          "key: must be of type string",
		`{"key":"k","mode":"s3cret"}`: "mode: must be one of a, b",
		`{"key":"k","size":"1","other":"s3cret"}`:    "other: is not one of the names that there are; size: must be of type number",
		`{"key":"k","flags":{"x":[1]}}`:              "flags: must be of type map(list(bool))",
		`{"key":"k","auth":{}}`:                      "auth.user: is required",
		`{"key":"k","auth":[{}]}`:                    "auth: must stand once",
		`{"key":"k","auth":"s3cret"}`:                "auth: must be a block",
		`{"key":"k","more":{"on":true}}`:             "more: must be a list of blocks",
		`{"key":"k","more":[{"on":true},{"on":""}]}`: "more.1.on: must be of type bool",
	} {
		var got []string
		for _, m := range s.Mistakes([]byte(fields)) {
			got = append(got, strings.Join(m.Path, ".")+": "+m.Detail)
		}
		if text := strings.Join(got, "; "); text != want || strings.Contains(text, "s3cret") {
			t.Errorf("%s: %q, want %q", fields, text, want)
		}
	}
	required := Schema{Blocks: map[string]Block{"one": {Required: true}, "some": {Required: true, Repeated: true}}}
	for fields, want := range map[string]int{`{}`: 2, `{"one":{},"some":[]}`: 1, `{"one":{},"some":[{}]}`: 0} {
		if got := required.Mistakes([]byte(fields)); len(got) != want || slices.Contains(got, nil) {
			t.Errorf("%s: %d mistakes", fields, len(got))
		}
	}
}
