package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"github.com/consentd/consentd/sdk"
)

func written(t testing.TB, files map[string]*hcl.File, diags hcl.Diagnostics, form Form) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteDiagnostics(&out, files, diags, form); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriteText(t *testing.T) {
	c, diags := parseText("log {\n\tlevel = \"inof\"\n}\n")
	want := `Error: Unknown value

  on main.hcl:2,10, in log:
   2 | 	level = "inof"
     | 	        ^^^^^^

In log, "level" cannot be
"inof". Did you mean "info"?

`
	if got := written(t, c.Files, diags, Form{Width: 30}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	colored := written(t, c.Files, diags, Form{Color: true})
	if !strings.Contains(colored, red+"Error"+reset) {
		t.Errorf("no color in %q", colored)
	}
}

func TestWriteTextWithoutSource(t *testing.T) {
	at := hcl.Range{Filename: "gone.hcl", Start: hcl.Pos{Line: 3, Column: 4, Byte: 99}}
	got := written(t, nil, hcl.Diagnostics{
		{Severity: hcl.DiagWarning, Summary: "A", Subject: &at}, {Severity: hcl.DiagError, Summary: "B", Detail: "b"},
	}, Form{})
	if want := "Warning: A\n\n  on gone.hcl:3,4\n\nError: B\n\nb\n\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestWriteJSON(t *testing.T) {
	c, diags := parseText("log {\n level = \"inof\"\n}\n")
	var got struct {
		Valid       bool
		Errors      int `json:"error_count"`
		Diagnostics []struct {
			Severity, Summary, Detail string
			Range                     struct {
				Filename   string
				Start, End struct{ Line, Column, Byte int }
			}
		}
	}
	if err := json.Unmarshal([]byte(written(t, c.Files, diags, Form{JSON: true})), &got); err != nil {
		t.Fatal(err)
	}
	d := got.Diagnostics[0]
	if got.Valid || got.Errors != 1 || d.Severity != "error" || d.Range.Filename != "main.hcl" || d.Range.Start.Line != 2 || d.Range.Start.Column != 10 || d.Range.End.Column != 16 {
		t.Errorf("got %+v", got)
	}
	if text := written(t, nil, nil, Form{JSON: true}); !strings.Contains(text, `"valid": true`) || !strings.Contains(text, `"diagnostics": []`) {
		t.Errorf("got %s", text)
	}
}

// HCL itself gives diagnostics the expression and every value it could have read.
func TestWriterPrintsNoLiveValue(t *testing.T) {
	src := []byte("x = person + 1\n")
	file, _ := hclsyntax.ParseConfig(src, "main.hcl", hcl.InitialPos)
	expr := file.Body.(*hclsyntax.Body).Attributes["x"].Expr
	rapid.Check(t, func(t *rapid.T) {
		value := "Zq" + rapid.String().Draw(t, "value")
		ctx := &hcl.EvalContext{Variables: map[string]cty.Value{"person": cty.StringVal(value)}}
		_, diags := expr.Value(ctx)
		if !diags.HasErrors() || diags[0].EvalContext == nil {
			t.Fatal("HCL does not give its context away any more, so this shows nothing")
		}
		for _, form := range []Form{{}, {JSON: true}, {Color: true, Width: 40}} {
			var out bytes.Buffer
			if err := WriteDiagnostics(&out, map[string]*hcl.File{"main.hcl": file}, diags, form); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), "Zq") {
				t.Fatalf("a value is in %s", out.String())
			}
		}
	})
}

// Configurations that are wrong in every place where a secret may stand.
var leaky = []string{
	`log { level = %s }`,
	`listener { address = %s }`,
	`listener { max_body_size = %s }`,
	"listener {\n tls {\n  cert_file = %s\n  key_file = %[1]s\n }\n}",
	`admin { address = %s }`,
	`admin { token = tonumber(%s) + 1 }`,
	`admin { token = %s + 1 }`,
	`store "sqlite" { path = jsondecode(%s) }`,
	`plugin_dir = file(%s)`,
	`plugin_dir = env(%s)`,
	`plugin_dir = { a = 1 }[%s]`,
	`plugin_dir = regex(%s, "x")`,
	`plugin_dir = try(tonumber(%s), jsondecode(%[1]s))`,
	`plugin_dir = format(%s, 1)`,
	`plugin_dir = [for x in [1] : x if %s]`,
	`plugin_dir = { for x in [%s, %[1]s] : x => 1 }`,
	`plugin_dir = credential(%s)`,
	"plugin \"a\" {\n sha256 = [%s]\n env = [%[1]s]\n}",
	"source \"s\" {\n path = %s\n update_type = %[1]s\n auth \"api_key\" {\n  header = %[1]s\n  keys = [%[1]s, 5, []]\n }\n}",
	"source \"s\" {\n path = \"/a\"\n update_type = \"consent-receipts\"\n auth \"oauth2\" {\n  refresh_tokens = [%s, \"b\", \"c\"]\n  client_id = %[1]s\n  token_path = %[1]s\n  token_lifetime = %[1]s\n }\n}",
	"source \"a\" {\n path = \"/${lower(%s)}\"\n}\nsource \"b\" {\n path = \"/${lower(%[1]s)}\"\n}",
	"option \"o\" {\n id = %s\n type = %[1]s\n justification = %[1]s\n}",
	"target \"mailchimp\" \"t\" {\n rate_limit = %s\n timeout = %[1]s\n max_in_flight = %[1]s\n}",
	"retry {\n jitter = %s\n multiplier = %[1]s\n max_interval = %[1]s\n}",
	"target \"mailchimp\" \"t\" {\n config {\n  api_key = [%s]\n  list_id = null\n  create = %[1]s\n  quota = %[1]s\n  mode = %[1]s\n  headers = %[1]s\n }\n}",
	"target \"mailchimp\" \"t\" {\n config {\n  api_key = { (%s) = 1 }.x\n  list_id = upper([%[1]s])\n  auth {\n   token = tonumber(%[1]s)\n  }\n }\n}",
}

func TestDiagnosticsHoldNoSecret(t *testing.T) {
	reported := 0
	rapid.Check(t, func(t *rapid.T) {
		secret := "Zq" + rapid.StringMatching(`([a-z0-9]{0,8}|[a-z0-9@:/%+\[{"\\ ]{0,16})`).Draw(t, "secret") + "Zq"
		lookup := func(name string) (string, bool) { return secret, name == "SECRET" }
		for _, template := range leaky {
			text := strings.ReplaceAll(strings.ReplaceAll(template, "%[1]s", `env("SECRET")`), "%s", `env("SECRET")`)
			c, diags := Parse(map[string][]byte{"main.hcl": []byte(text)}, lookup)
			if !diags.HasErrors() {
				_, diags = c.Bind(types)
			}
			reported += len(diags)
			for _, form := range []Form{{}, {JSON: true}} {
				var out bytes.Buffer
				if err := WriteDiagnostics(&out, c.Files, diags, form); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(strings.ToLower(out.String()), "zq") {
					t.Fatalf("the secret is in the diagnostics of %s\n%s", text, out.String())
				}
			}
		}
	})
	if reported < len(leaky) {
		t.Fatalf("only %d diagnostics", reported)
	}
}

// A secret that was written out is not in the lines that diagnostics show.
func TestSnippetsHoldNoSecret(t *testing.T) {
	for name, c := range map[string]struct {
		text, shown string
	}{
		"keys":           {inAuth("api_key", "header = \"X\"\nkeys = [\"Zq1\", [\"Zq2\"]]"), `[`},
		"refresh tokens": {inAuth("oauth2", "refresh_tokens = [\"Zq1\", \"Zq2\",\n \"Zq3\"]"), `refresh_tokens = ["***", "***",`},
		"one line":       {inAuth("oauth2", "refresh_tokens = [\"Zq1\", \"b\", \"c\"]"), `refresh_tokens = ["***", "*", "*"]`},
		"admin token":    {"admin { token = upper([\"Zq1\"]) }", `upper(["***"])`},
		"with an escape": {"admin { token = upper([\"Zq\\\"Zq${1}Zq\"]) }", ``},
		"heredoc":        {"admin {\n token = [<<E\nZq\nE\n]\n}", ``},
		"by schema":      {inConfig("headers = { X-Team = [\"Zq1\"] }"), `X-Team = ["***"]`},
		"no syntax":      {"target \"mailchimp\" \"x\" {\n config {\n  api_key = \"Zq1\" \"Zq2\"\n }\n}", `api_key = "***" "***"`},
		"no quotes":      {inAuth("api_key", "header = \"X\"\nkeys = [Zqsecret]"), `keys = [********]`},
		"not at all":     {"admin { token = Zqsec-ret+Zq/Zq== }", `token = `},
		"a number":       {"admin { token = { a = 2990912 }[Zq] }", `[**]`},
		"one quote":      {inAuth("api_key", "header = \"X\"\nkeys = [env(\"Zqsecret)]"), `keys = [env("*********`},
		"after a quote":  {"log { level = \"info }\nadmin { token = \"Zq\" }\n" + inAuth("token", "tokens = [\"Zq\"]"), `log { level = "info }`},
		"open heredoc":   {"plugin_dir = <<E\nx\nadmin { token = \"Zq\" }", ``},
		"single quotes":  {"admin { token = 'Zq' }", `token = '**'`},
		"backslash":      {"admin { token = \"Zq\\Zq\" }", ``},
		"no equals sign": {inAuth("token", "tokens [\"Zq\"]"), `tokens ["**"]`},
		"in a comment":   {"admin { token = tonumber([]) # Zq\n }", ``},
		"unknown name":   {inConfig("headers = { X-Team = Zqsecret }"), `X-Team = ********`},
		"unknown func":   {inAuth("token", "tokens = [Zqs3cret(1)]"), `tokens = [********(*)]`},
		"a typo":         {inAuth("token", "tokens = [evn(\"CPM_KEY\")]"), `tokens = [evn(`},
		"a map's key":    {"target \"file\" \"x\" {\n config {\n  path = { \"X-Api-Key\" = \"Zq1\", y = [] }\n }\n}", `"X-Api-Key" = "***"`},
	} {
		t.Run(name, func(t *testing.T) {
			config, diags := parseText(c.text)
			if !diags.HasErrors() {
				_, diags = config.Bind(types)
			}
			if !diags.HasErrors() {
				t.Fatal("nothing is wrong, so nothing is shown")
			}
			if text := written(t, config.Files, diags, Form{JSON: true}); strings.Contains(text, "Zq") {
				t.Errorf("as JSON\n%s", text)
			}
			got := written(t, config.Files, diags, Form{})
			if strings.Contains(got, "Zq") || !strings.Contains(got, c.shown) {
				t.Errorf("shown is\n%s", got)
			}
		})
	}
	// A bracket that is open does not make the rest of the file a rule.
	open := "rule \"r\" {\n record {\n  key = [\"x\"\n }\n}\nsource \"s\" {\n auth \"token\" {\n  tokens = [\"Zq\"]\n }\n}\n"
	if got := string(blankSecrets([]byte(open), "main.hcl")); got != strings.Replace(open, "Zq", "**", 1) {
		t.Errorf("blanked to\n%s", got)
	}
	// What is no secret stays readable, also after a comment at the end of one, and a rule's key is none.
	src := "admin {\n token = env(\"A\")#\n address = \"x\"\n}\nsource \"s\" {\n token_path = \"/a\"\n}\nrule \"r\" {\n record {\n  key = \"x\"\n }\n}\n"
	if got := string(blankSecrets([]byte(src), "main.hcl")); got != strings.Replace(src, "#", "*", 1) {
		t.Errorf("blanked to\n%s", got)
	}
}

func TestPluginMistakesHoldNoSecret(t *testing.T) {
	config := mustParse(t, inConfig("headers = { A = \"Bearer ${env(\"CPM_TOKEN\")}\" }"))
	if _, diags := config.Bind(types); len(diags) > 0 {
		t.Fatal(render(diags))
	}
	d := config.TargetDiagnostic("news", sdk.ConfigError{Summary: "chimp-secret", Detail: "got Bearer token-secret"})
	if d.Summary != hidden || d.Detail != "got "+hidden {
		t.Errorf("%s: %s", d.Summary, d.Detail)
	}
}

func TestWritesNoMoreThanAnybodyReads(t *testing.T) {
	warning := &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "W"}
	diags := hcl.Diagnostics{warning}
	src := bytes.Repeat([]byte("\u00e9\x1b[31m"), 4000)
	files := map[string]*hcl.File{"main.hcl": {Bytes: src}}
	for i := range 999 {
		at := hcl.Range{Filename: "main.hcl", Start: hcl.Pos{Line: 1, Column: 6 * i, Byte: 7 * i}, End: hcl.Pos{Byte: 7*i + 700}}
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "E", Detail: string(src), Subject: &at})
	}
	text := written(t, files, diags, Form{})
	if len(text) > 20*(4*snippetWidth+2*maxText+200)*2 || strings.Contains(text, "\x1b") || strings.Contains(text, "Warning") ||
		!strings.HasSuffix(text, "\n... and 980 more.\n") {
		t.Errorf("%d bytes, ending in %s", len(text), text[len(text)-200:])
	}
	var got struct {
		Errors      int   `json:"error_count"`
		Warnings    int   `json:"warning_count"`
		Omitted     int   `json:"omitted_count"`
		Diagnostics []any `json:"diagnostics"`
	}
	if err := json.Unmarshal([]byte(written(t, files, diags, Form{JSON: true})), &got); err != nil {
		t.Fatal(err)
	}
	if got.Errors != 999 || got.Warnings != 1 || got.Omitted != 980 || len(got.Diagnostics) != 20 {
		t.Errorf("%d errors, %d warnings, %d omitted, %d written", got.Errors, got.Warnings, got.Omitted, len(got.Diagnostics))
	}
}

func TestSnippetOfALongLine(t *testing.T) {
	line := strings.Repeat("a", 300) + "\t\x07bc" + strings.Repeat("d", 300)
	at := hcl.Range{Filename: "main.hcl", Start: hcl.Pos{Line: 1, Column: 302, Byte: 301}, End: hcl.Pos{Byte: 303}}
	got := written(t, map[string]*hcl.File{"main.hcl": {Bytes: []byte(line)}}, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "S", Subject: &at}}, Form{})
	want := "Error: S\n\n  on main.hcl:1,302:\n" +
		"   1 | …" + strings.Repeat("a", 59) + "\t\\abc" + strings.Repeat("d", 137) + "…\n" +
		"     | " + strings.Repeat(" ", 60) + "\t^^^\n\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	at.End.Byte = len(line)
	if got := written(t, map[string]*hcl.File{"main.hcl": {Bytes: []byte(line)}}, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "S", Subject: &at}}, Form{}); strings.Count(got, "^") != 141 {
		t.Errorf("got\n%s", got)
	}
}
