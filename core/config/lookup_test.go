package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A lookup of each kind, without what a case puts into it.
const (
	httpURL    = "url = \"https://crm.example.org/people/${citizen.external_ref}\"\n"
	httpFields = "fields = { email = \"$.email\" }\n"
	sqlRest    = "dsn = \"x\"\nquery = \"SELECT 1\"\nfields = { email = \"email\" }\n"
)

func inLookup(kind, lines string) string {
	return fmt.Sprintf("lookup %q \"crm\" {\n%s}\n", kind, lines)
}

func TestLookupMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"http": {inLookup("http", httpURL+httpFields), ""},
		"sql":  {inLookup("sql", "driver = \"mysql\"\nargs = [citizen.external_ref, 1]\n"+sqlRest), ""},
		"csv":  {inLookup("csv", "path = \"p.csv\"\nkey = \"id\"\nmatch = lower(citizen.external_ref)\nfields = { email = \"e-mail\" }\n"), ""},
		"cpm":  {inLookup("dataguard", "base_url = \"https://api.consentric.io\"\nauth \"header\" {\nname = \"X-API-Key\"\nkey = env(\"CPM_KEY\")\n}\n"), ""},

		"kind":           {inLookup("htp", ""), `main.hcl:1,8-13: Unknown lookup: There is no lookup of the kind "htp". Did you mean "http"?`},
		"name":           {"lookup \"csv\" \"a b\" {\npath = \"p\"\nkey = \"id\"\nmatch = citizen.id\nfields = { e = \"e\" }\n}", `main.hcl:1,14-19: Not a name`},
		"same name":      {inLookup("http", httpURL+httpFields) + inLookup("http", httpURL+httpFields), `main.hcl:5,1-20: Same lookup twice: The lookup "crm" is already at main.hcl:1,1.`},
		"no fields":      {inLookup("http", httpURL), `main.hcl:1,1-20: Missing attribute: In lookup "http" "crm", "fields" is missing. Add fields = { email = "$.contact.email" }.`},
		"fields by call": {inLookup("http", httpURL+"fields = merge({}, {})\n"), `main.hcl:3,10-23: Wrong value: In lookup "http" "crm", "fields" has to be written out`},
		"field name":     {inLookup("http", httpURL+"fields = { email = \"$.e\", \"e mail\" = \"$.e\" }\n"), `main.hcl:3,27-35: Not a name`},
		"field value":    {inLookup("http", httpURL+"fields = { email = 1 }\n"), `main.hcl:3,20-21: Wrong value: In lookup "http" "crm", "email" of "fields" must be a string, and not empty.`},
		"path":           {inLookup("http", httpURL+"fields = { email = \"contact.email\" }\n"), `main.hcl:3,20-35: Not a JSON path: In lookup "http" "crm", the field "email" has no path of RFC 9535`},
		"type":           {inLookup("http", httpURL+httpFields+"types = { email = \"strnig\" }\n"), `main.hcl:4,19-27: Unknown type: In lookup "http" "crm", the type of a field cannot be "strnig". Did you mean "string"?`},
		"type of what":   {inLookup("http", httpURL+httpFields+"types = { emial = \"bool\" }\n"), `main.hcl:4,11-16: Unknown field: There is no field "emial" in lookup "http" "crm". Did you mean "email"?`},
		"list in csv":    {inLookup("csv", "path = \"p.csv\"\nkey = \"id\"\nmatch = citizen.id\nfields = { email = \"e-mail\" }\ntypes = { email = \"list(string)\" }\n"), `Unknown type`},
		"optional":       {inLookup("http", httpURL+httpFields+"optional = [\"phone\"]\n"), `main.hcl:4,13-20: Unknown field: There is no field "phone"`},
		"all optional":   {inLookup("http", httpURL+httpFields+"optional = [\"email\"]\n"), `main.hcl:1,1-20: Every field is optional`},
		"cache":          {inLookup("http", httpURL+httpFields+"cache {\nttl = \"1s\"\n}\n"), `main.hcl:5,7-11: Duration out of range: In cache of lookup "http" "crm", "ttl" must be from "10s" to "30d".`},
		"cache of csv":   {inLookup("csv", "path = \"p.csv\"\nkey = \"id\"\nmatch = citizen.id\nfields = { email = \"e-mail\" }\ncache {}\n"), `main.hcl:6,1-6: Unknown block: There is no block "cache" in lookup "csv" "crm".`},
		"attribute":      {inLookup("http", httpURL+httpFields+"timeot = \"1s\"\n"), `main.hcl:4,1-7: Unknown attribute: There is no attribute "timeot" in lookup "http" "crm". Did you mean "timeout"?`},
		"one at once":    {inLookup("http", httpURL+httpFields+"max_in_flight = 1\n"), `"max_in_flight" must be a whole number from 2 to 1000.`},

		"no url":           {inLookup("http", httpFields), `main.hcl:1,1-20: Missing attribute: In lookup "http" "crm", "url" is missing. Add url = "https://crm.example.org/people/${citizen.external_ref}".`},
		"empty url":        {inLookup("http", "url = \"\"\n"+httpFields), `main.hcl:2,7-9: Not an address`},
		"only the citizen": {inLookup("http", "url = citizen.id\n"+httpFields), `Not a template`},
		"wrapped":          {inLookup("http", "url = \"${citizen.id}\"\n"+httpFields), `Not a template`},
		"null fields":      {inLookup("http", httpURL+"fields = null\n"), `"fields" is missing`},
		"no field":         {inLookup("http", httpURL+"fields = {}\n"), `"fields"`},
		"null url":         {inLookup("http", "url = null\n"+httpFields), `main.hcl:2,7-11: Wrong value: In lookup "http" "crm", this part of the address comes to no text.`},
		"url of nobody":    {inLookup("http", "url = \"https://crm.example.org/people\"\n"+httpFields), `main.hcl:2,7-39: Everybody is asked for the same`},
		"host by citizen":  {inLookup("http", "url = \"https://${citizen.id}.example.org/\"\n"+httpFields), `main.hcl:2,7-43: Not an address`},
		"port by citizen":  {inLookup("http", "url = \"https://example.org${citizen.id}\"\n"+httpFields), `Not an address`},
		"no scheme":        {inLookup("http", "url = \"crm.example.org/${citizen.id}\"\n"+httpFields), `Not an address`},
		"password in url":  {inLookup("http", "url = \"https://ann:pw@crm.example.org/${citizen.id}\"\n"+httpFields), `Not an address`},
		"no template":      {inLookup("http", "url = format(\"https://x.org/%s\", citizen.id)\n"+httpFields), `main.hcl:2,7-45: Not a template`},
		"citizen typo":     {inLookup("http", "url = \"https://x.org/${citizen.external_reff}\"\n"+httpFields), `main.hcl:2,32-45: Unknown name: There is nothing named "external_reff" here. Did you mean "external_ref"?`},
		"permission":       {inLookup("http", "url = \"https://x.org/${citizen.id}/${permission.x.known}\"\n"+httpFields), `Unknown name`},
		"env and citizen":  {inLookup("http", "url = \"https://x.org/${format(\"%s%s\", env(\"CPM_KEY\"), citizen.id)}\"\n"+httpFields), `There is no function named "env". What is read of a citizen cannot be mixed with the environment`},
		"env in the url":   {inLookup("http", "url = \"https://x.org/${env(\"CPM_KEY\")}/${citizen.id}\"\n"+httpFields), ""},
		"body of a GET":    {inLookup("http", httpURL+httpFields+"body = { id = citizen.id }\n"), `main.hcl:4,8-27: Body of a GET`},
		"post":             {inLookup("http", "url = \"https://x.org/search\"\nmethod = \"POST\"\nbody = { id = citizen.id }\n"+httpFields), ""},
		"header":           {inLookup("http", httpURL+httpFields+"headers = { \"X Y\" = \"z\" }\n"), `Not a header`},

		"auth":          {inLookup("http", httpURL+httpFields+"auth \"baerer\" {\ntoken = \"x\"\n}\n"), `main.hcl:4,6-14: Unknown auth: There is no auth "baerer" here. Did you mean "bearer"?`},
		"auth in clear": {inLookup("http", "url = \"http://crm.example.org/${citizen.id}\"\n"+httpFields+"auth \"bearer\" {\ntoken = \"x\"\n}\n"), `main.hcl:4,1-14: Credentials would go in clear`},
		"auth on this":  {inLookup("http", "url = \"http://127.0.0.1:80/${citizen.id}\"\n"+httpFields+"auth \"bearer\" {\ntoken = \"x\"\n}\n"), ""},
		"token":         {inLookup("http", httpURL+httpFields+"auth \"bearer\" {\ntoken = \"a b\"\n}\n"), `main.hcl:5,9-14: Not a credential`},
		"token url":     {inLookup("http", httpURL+httpFields+"auth \"oauth2\" {\ntoken_url = \"http://x.org\"\nclient_id = \"i\"\nclient_secret = \"s\"\n}\n"), `main.hcl:5,13-27: Not an address`},
		"no password":   {inLookup("http", httpURL+httpFields+"auth \"basic\" {\nuser = \"u\"\n}\n"), `"password" is missing`},
		"cpm, no auth":  {inLookup("dataguard", "base_url = \"https://api.consentric.io\"\n"), `main.hcl:1,1-25: Missing block: In lookup "dataguard" "crm", "auth" is missing.`},
		"cpm, quotes":   {inLookup("dataguard", "base_url = \"https://api.consentric.io\"\napplication_id = \"a'b\"\nauth \"bearer\" {\ntoken = \"x\"\n}\n"), `holds neither quotes nor backslashes`},

		"driver":       {inLookup("sql", "driver = \"postgresql\"\nargs = [citizen.id]\n"+sqlRest), `main.hcl:2,10-22: Unknown value: In lookup "sql" "crm", "driver" cannot be "postgresql". Did you mean "postgres"?`},
		"no args":      {inLookup("sql", "driver = \"mysql\"\n"+sqlRest), `"args" is missing. Add args = [citizen.external_ref]`},
		"args for all": {inLookup("sql", "driver = \"mysql\"\nargs = [1]\n"+sqlRest), `main.hcl:3,8-11: Wrong value: In lookup "sql" "crm", "args" is a list`},
		"list in args": {inLookup("sql", "driver = \"mysql\"\nargs = [[citizen.id]]\n"+sqlRest), `main.hcl:3,9-21: Wrong value`},
		"match":        {inLookup("csv", "path = \"p.csv\"\nkey = \"id\"\nmatch = \"x\"\nfields = { email = \"e-mail\" }\n"), `main.hcl:4,9-12: Everybody is asked for the same`},
	} {
		t.Run(name, func(t *testing.T) {
			config, diags := parseText(c.text)
			got := render(diags)
			if c.want == "" {
				if got != "" || len(config.Lookups) != 1 || len(config.Names.Lookups) != 1 {
					t.Errorf("unexpected: %s", got)
				}
				return
			}
			if len(diags) != 1 || !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if strings.Contains(got, "key-secret") {
				t.Error("a secret is named")
			}
		})
	}
}

// TestLookupInRules: what a rule reads of a lookup is known before anything is asked.
func TestLookupInRules(t *testing.T) {
	text := source + "target \"mailchimp\" \"m\" {\nconfig {\napi_key = \"k\"\nlist_id = \"l\"\n}\n}\n" +
		inLookup("http", httpURL+"fields = { email = \"$.email\", vip = \"$.vip\" }\ntypes = { vip = \"bool\" }\n")
	for record, want := range map[string]string{
		"email = lookup.crm.email":                                     "",
		"email = lookup.crm.vip ? lookup.crm.email : \"x\"":            "",
		"email = lookup.crn.email":                                     `23,16-19: Unknown name: There is nothing named "crn" here. Did you mean "crm"?`,
		"email = lookup.sap.email":                                     `23,16-19: Unknown name: There is nothing named "sap" here. No lookup block has that name. Add lookup "http" "sap" { ... }, or use one that is there. Write "crm".`,
		"email = lookup.crm.emial":                                     `23,20-25: Unknown name: There is nothing named "emial" here. Did you mean "email"?`,
		"email = lookup.crm.telephone":                                 `23,20-29: Unknown name: There is nothing named "telephone" here. The lookup "crm" has no such field. Add it to its fields, or use one that is there. Write one of "email" or "vip".`,
		"email = lookup.crm":                                           `23,9-19: Wrong value: This is for "email"`,
		"email = \"x\"\ninterests = { a = lookup.crm.email == \"x\" }": "",
		"email = \"x\"\ninterests = lookup.crm.vip":                    `24,13-27: Wrong value: This is for "interests"`,
	} {
		c, diags := parseText(text + "rule \"r\" {\nsource = source.in\ntarget = target.m\n\n\nrecord {\n" + record + "\n}\n}\n")
		if diags.HasErrors() {
			t.Fatal(render(diags))
		}
		_, diags = c.Bind(types)
		if got := render(diags); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s\ngot\n%s\nwant\n%s", record, got, want)
		}
	}
}

func TestLookupValues(t *testing.T) {
	c, diags := parseText(inLookup("http", httpURL+httpFields+`
timeout = "2s"
rate_limit = "600/m"
max_in_flight = 3
cache {
  ttl = "5m"
  size = 2000
}
auth "basic" {
  user = "u"
  password = env("CPM_KEY")
}
`))
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	l := c.Lookups[0]
	if l.Timeout != 2*time.Second || l.RateLimit != 10 || l.MaxInFlight != 3 || l.TTL != 5*time.Minute || l.Size != 2000 {
		t.Errorf("%+v %v %v %v %v %v", l, l.Timeout, l.RateLimit, l.MaxInFlight, l.TTL, l.Size)
	}
	if text := fmt.Sprintf("%v %+v", c, *c); strings.Contains(text, "key-secret") {
		t.Error("a secret is printed")
	}
	c, diags = parseText(inLookup("dataguard", "base_url = \"https://api.consentric.io/\"\napplication_id = \"17\"\nauth \"header\" {\nname = \"X-API-Key\"\nkey = env(\"CPM_KEY\")\n}\n"))
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	l = c.Lookups[0]
	if l.Fields[0].From != "$.applicationDetails[?@.applicationId == '17' || @.applicationId == 17].email" || l.Fields[0].Optional || !l.Fields[1].Optional {
		t.Errorf("%+v", l.Fields)
	}
	if len(l.HTTP.URL) != 2 || l.HTTP.URL[0].Text != "https://api.consentric.io/v1/citizens/" {
		t.Errorf("%+v", l.HTTP.URL)
	}
}

// TestLookupSecretsAreBlanked: no line that a diagnostic shows has a secret that was written out.
func TestLookupSecretsAreBlanked(t *testing.T) {
	text := inLookup("sql", "driver = \"mysql\"\nargs = [citizen.id]\ndsn = \"u:s3cret@x/y\"\nquery = \"SELECT 1\"\nfields = { email = \"email\" }\n") +
		strings.Replace(inLookup("http", httpURL+httpFields+"auth \"basic\" {\nuser = \"u\"\npassword = \"s3cret\"\n}\n"), "crm", "two", 1)
	c, diags := parseText(text)
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	if shown := string(c.Files["main.hcl"].Bytes); strings.Contains(shown, "s3cret") || !strings.Contains(shown, "SELECT 1") {
		t.Error(shown)
	}
}
