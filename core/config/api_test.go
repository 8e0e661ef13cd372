package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func inAPI(lines string) string {
	return inSource("path = \"/in\"\napplication_id = \"acme\"\nauth \"none\" {}\napi {\n" + lines + "\n}")
}

func TestAPIMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"environment":    {inAPI("environment = \"ue\"\napi_key = \"k\""), `main.hcl:7,15-19: Unknown value: In api of source "s", "environment" cannot be "ue". Did you mean "eu"?`},
		"no environment": {inAPI("api_key = \"k\""), `main.hcl:6,1-4: Missing attribute: In api of source "s", "environment" is missing.`},
		"in clear":       {inAPI("base_url = \"http://api.example.org\"\napi_key = \"k\""), `main.hcl:7,12-36: Not an address: In api of source "s", "base_url" must begin with https://`},
		"nobody asks":    {inAPI("environment = \"eu\""), `main.hcl:6,1-4: Missing attribute: In api of source "s", nothing says who asks.`},
		"half a client":  {inAPI("environment = \"eu\"\nclient_id = \"x\""), `nothing says who asks`},
		"both":           {inAPI("environment = \"eu\"\napi_key = \"k\"\nclient_id = \"x\"\nclient_secret = \"y\""), `Credentials of two kinds`},
		"no token url":   {inAPI("base_url = \"https://api.example.org\"\nclient_id = \"x\"\nclient_secret = \"y\""), `"token_url" is missing`},
		"no application": {strings.Replace(inAPI("environment = \"eu\"\napi_key = \"k\""), "application_id = \"acme\"\n", "", 1), `main.hcl:5,1-4: Missing attribute: In api of source "s", "application_id" is missing.`},
		"own one":        {strings.Replace(inAPI("environment = \"eu\"\napi_key = \"k\"\napplication_id = \"acme\""), "application_id = \"acme\"\n", "", 1), ""},
		"path":           {inAPI("environment = \"eu\"\napi_key = \"k\"\npaths {\neffective = \"v1\"\n}"), `main.hcl:10,13-17: Not a path: In paths of api of source "s", "effective" must be a plain path`},
		"params":         {inAPI("environment = \"eu\"\napi_key = \"k\"\nparams {\nlimt = \"n\"\n}"), `Did you mean "limit"?`},
		"page":           {inAPI("environment = \"eu\"\napi_key = \"k\"\npage_size = 101"), `"page_size" must be a whole number from 1 to 100.`},
		"url":            {inAPI("environment = \"eu\"\napi_key = \"k\"\nsubscription {\nurl = \"consent.example.org\"\n}"), `main.hcl:10,7-28: Not an address: In subscription of api of source "s", "url" is where the sender reaches this source`},
		"url in clear":   {inAPI("environment = \"eu\"\napi_key = \"k\"\nsubscription {\nurl = \"http://consent.example.org/w\"\n}"), `must begin with https://`},
		"no url":         {inAPI("environment = \"eu\"\napi_key = \"k\"\nsubscription {\n}"), `"url" is missing`},
		"repair":         {"reconcile {\nrepair = \"withdrawal\"\n}", `Did you mean "withdrawals"?`},
		"too often":      {"reconcile {\nevery = \"1s\"\n}", `must be at least "1m"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, diags := parseText(c.text)
			got := render(diags)
			if c.want == "" && got != "" || c.want != "" && (len(diags) != 1 || !strings.Contains(got, c.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAPIValues(t *testing.T) {
	c, diags := parseText(inAPI("environment = \"uk\"\nclient_id = \"c\"\nclient_secret = \"s3cret\"\nrate_limit = \"60/m\"\nheartbeat = \"4h\"\n" +
		"paths {\neffective = \"/v2/all\"\n}\nparams {\noffset = \"start\"\n}"))
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	a := c.Sources[0].API
	if a.BaseURL != "https://api.consentric.io" || a.Application != "acme" || a.RateLimit != 1 || a.PageSize != 100 || a.Heartbeat != 4*time.Hour ||
		a.Paths.Effective != "/v2/all" || a.Paths.Citizens != "/v1/citizens" || a.Params.Offset != "start" || a.Params.Limit != "limit" || a.SubscriptionName != "consentd s" {
		t.Errorf("%+v %+v %+v", a.BaseURL, a.Paths, a.Params)
	}
	again, _ := parseText(inAPI("environment = \"uk\"\nclient_id = \"c\"\nclient_secret = \"another\"\nrate_limit = \"60/m\"\nheartbeat = \"4h\"\n" +
		"paths {\neffective = \"/v2/all\"\n}\nparams {\noffset = \"start\"\n}"))
	if again.Sources[0].API.Identity == a.Identity {
		t.Error("another secret is the same client")
	}
	if text := fmt.Sprintf("%v %+v %v", c, *a, a.Config); strings.Contains(text, "s3cret") {
		t.Error("a secret is printed")
	}
	if shown := string(c.Files["main.hcl"].Bytes); strings.Contains(shown, "s3cret") {
		t.Error("a secret is shown in diagnostics")
	}
}

// A lookup of citizens asks with what the source's API has.
func TestLookupSharesTheAPI(t *testing.T) {
	text := inAPI("environment = \"uk\"\nclient_id = \"c\"\nclient_secret = \"s3cret\"") + "\nlookup \"dataguard\" \"person\" {\nsource = source.s\n}\n"
	c, diags := parseText(text)
	if diags.HasErrors() {
		t.Fatal(render(diags))
	}
	l := c.Lookups[0]
	if l.Sender != "s" || l.HTTP.URL[0].Text != "https://api.consentric.io/v1/citizens/" || l.Fields[0].From != "$.applicationDetails[?@.applicationId == 'acme'].email" {
		t.Errorf("%+v %+v %+v", l.Sender, l.HTTP.URL, l.Fields)
	}
	for text, want := range map[string]string{
		source + "lookup \"dataguard\" \"person\" {\nsource = source.in\n}\n": `main.hcl:7,10-19: Source has no API: In lookup "dataguard" "person", the source "in" has no api block`,
		source + "lookup \"dataguard\" \"person\" {\nsource = source.im\n}\n": `Unknown source`,
		text[:len(text)-2] + "base_url = \"https://x.example.org\"\n}\n":      `There is no attribute "base_url"`,
	} {
		if _, diags := parseText(text); len(diags) != 1 || !strings.Contains(render(diags), want) {
			t.Errorf("got %s, want %s", render(diags), want)
		}
	}
}
