package config

import (
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk"
)

func inConfig(lines string) string {
	return "target \"mailchimp\" \"news\" {\nconfig {\napi_key = env(\"MAILCHIMP_API_KEY\")\nlist_id = \"l\"\n" + lines + "\n}\n}\n"
}

func TestBindRendersConfig(t *testing.T) {
	for name, c := range map[string]struct{ lines, want string }{
		"absent is omitted": {"", `{"api_key":"chimp-secret","list_id":"l"}`},
		"null is kept":      {"base_url = null", `{"api_key":"chimp-secret","base_url":null,"list_id":"l"}`},
		"exact numbers":     {"quota = 9007199254740993", `{"api_key":"chimp-secret","list_id":"l","quota":9007199254740993}`},
		"functions":         {"base_url = \"https://${lower(\"US1\")}.example.org\"", `{"api_key":"chimp-secret","base_url":"https://us1.example.org","list_id":"l"}`},
		"secrets in secrets": {"headers = { Authorization = \"Bearer ${env(\"CPM_TOKEN\")}\", X = \"y\" }",
			`{"api_key":"chimp-secret","headers":{"Authorization":"Bearer token-secret","X":"y"},"list_id":"l"}`},
		"blocks": {"auth {\ntoken = env(\"CPM_TOKEN\")\n}\nfield {\nname = \"a\"\n}\nfield {}",
			`{"api_key":"chimp-secret","auth":{"token":"token-secret"},"field":[{"name":"a"},{}],"list_id":"l"}`},
		"a choice by the environment": {"create = env(\"EMPTY\") != \"\" ? true : false", `{"api_key":"chimp-secret","create":false,"list_id":"l"}`},
		"the arm that is not taken":   {"quota = env(\"EMPTY\") == \"\" ? 1 : jsondecode(env(\"EMPTY\"))", `{"api_key":"chimp-secret","list_id":"l","quota":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			config := mustParse(t, inConfig(c.lines))
			if _, diags := config.Bind(types); len(diags) > 0 {
				t.Fatal(render(diags))
			}
			if got := string(config.Targets[0].Fields); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBindMistakes(t *testing.T) {
	rule := source + inConfig("") + "option \"o\" { id = \"1\" }\nrule \"r\" {\nsource = source.in\ntarget = target.news\n"
	for name, c := range map[string]struct{ text, want string }{
		"type":               {"target \"mailchip\" \"x\" {\n}", `main.hcl:1,8-18: Unknown target type: No plugin serves the type "mailchip". Did you mean "mailchimp"?`},
		"attribute":          {inConfig("bas_url = \"x\""), `main.hcl:5,1-8: Unknown attribute: The config of target "news" has no attribute "bas_url". Did you mean "base_url"?`},
		"missing":            {"target \"file\" \"x\" {\nconfig {\n}\n}", `main.hcl:2,1-7: Missing attribute: The config of target "x" needs "path" (string). Add path = ...`},
		"no config at all":   {"target \"file\" \"x\" {\n}", `main.hcl:1,1-18: Missing attribute: The config of target "x" needs "path"`},
		"type of a value":    {inConfig("create = \"maybe\""), `main.hcl:5,10-17: Wrong value: This is for "create" in the config of target "news". It must be a bool; this is a string. Write true or false.`},
		"enum":               {inConfig("mode = \"fats\""), `main.hcl:5,8-14: Wrong value: This is for "mode" in the config of target "news". "fats" is none of the values allowed. Did you mean "fast"?`},
		"secret of the type": {inConfig("quota = env(\"CPM_KEY\")"), `main.hcl:5,9-23: Wrong value: This is for "quota" in the config of target "news". It must be a number; this is a string.`},
		"required null":      {"target \"file\" \"x\" {\nconfig {\npath = null\n}\n}", `main.hcl:3,8-12: Required attribute is null`},
		"not set":            {inConfig("base_url = env(\"NOWHERE\")"), `The environment variable "NOWHERE" is not set`},
		"record":             {rule + "record {\nemail = citizen.id\nstauts = \"x\"\n}\n}", `Unknown attribute: The record of rule "r" has no attribute "stauts". Did you mean "status"?`},
		"env in a record":    {rule + "record {\nemail = env(\"X\")\n}\n}", `A rule cannot read files, the environment or credentials.`},
		"silent":             {rule + "when = permission.o.allowed\nrecord {\nemail = citizen.id\n}\n}", `Rule falls silent at a withdrawal`},
	} {
		t.Run(name, func(t *testing.T) {
			config := mustParse(t, c.text)
			compiled, diags := config.Bind(types)
			if got := render(diags); len(diags) != 1 || !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if diags.HasErrors() && compiled != nil {
				t.Error("rules in spite of errors")
			}
		})
	}
}

func TestIdle(t *testing.T) {
	rule := "rule \"r\" {\nsource = source.in\ntarget = target.out\nrecord {}\n}\n"
	for text, want := range map[string]string{
		"":                     "No source, no rule, no target is configured",
		"log {}":               "No source, no rule, no target is configured",
		source + target:        "No rule is configured",
		source:                 "No rule, no target is configured",
		source + target + rule: "",
	} {
		diags := mustParse(t, text).Idle()
		if got := render(diags); diags.HasErrors() || want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestTargetDiagnostic(t *testing.T) {
	config := mustParse(t, inConfig(`headers = {
  X-Team = "blue"
  "Y"    = "literal-secret"
}
auth {
  token = "0123"
}
field {}
field {
  name = "b"
}`))
	if _, diags := config.Bind(types); len(diags) > 0 {
		t.Fatal(render(diags))
	}
	for path, want := range map[string]string{
		"":                 "main.hcl:2,1-7",
		"list_id":          "main.hcl:4,11-14",
		"headers.X-Team":   "main.hcl:6,12-18",
		"headers.Y.deeper": "main.hcl:7,12-28",
		"headers.Z":        "main.hcl:5,11-8,2",
		"auth":             "main.hcl:9,1-5",
		"auth.token":       "main.hcl:10,11-17",
		"auth.nothing":     "main.hcl:9,1-5",
		"field.1.name":     "main.hcl:14,10-13",
		"field.0":          "main.hcl:12,1-6",
		"not.there":        "main.hcl:2,1-7",
	} {
		e := sdk.ConfigError{Summary: "Invalid configuration", Detail: "neither chimp-secret nor literal-secret nor 0123 will do"}
		if path != "" {
			e.Path = strings.Split(path, ".")
		}
		d := config.TargetDiagnostic("news", e)
		if got := d.Subject.String(); got != want && !strings.HasPrefix(got, want) {
			t.Errorf("%q: at %s, want %s", path, got, want)
		}
		if d.Detail != "neither (sensitive) nor (sensitive) nor (sensitive) will do" {
			t.Errorf("%q: %s", path, d.Detail)
		}
	}
	if d := config.TargetDiagnostic("other", sdk.ConfigError{Summary: "x"}); d.Subject != nil || d.Summary != "x" {
		t.Errorf("got %+v", d)
	}
}
