package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/lookup"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

var contact = sdk.Schema{
	Attributes: map[string]sdk.Attribute{
		"email":     {Type: "string", Required: true},
		"status":    {Type: "string", Enum: []string{"subscribed", "unsubscribed"}},
		"vip":       {Type: "bool"},
		"score":     {Type: "number"},
		"interests": {Type: "map(bool)"},
		"levels":    {Type: "map(string)", Enum: []string{"high", "low"}},
		"fields":    {Type: "any"},
		"tags":      {Type: "list(string)"},
		"hidden":    {Type: "bool", Sensitive: true},
	},
	Blocks: map[string]sdk.Block{
		"address": {Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"city": {Type: "string"}, "checked": {Type: "bool"}}}},
		"phone":   {Repeated: true, Body: sdk.Schema{Attributes: map[string]sdk.Attribute{"ok": {Type: "bool"}}}},
	},
}

// compile reads rule blocks: their labels are name, source and target.
func compile(t testing.TB, text string) []*rules.Rule {
	t.Helper()
	file, diags := hclsyntax.ParseConfig([]byte(text), "rules.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var all []*rules.Rule
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		record := block.Body.Blocks[0]
		d := rules.Definition{
			Name: block.Labels[0], Source: block.Labels[1], Target: block.Labels[2],
			Record: record.Body, RecordRange: record.DefRange(), Range: block.DefRange(),
		}
		if when := block.Body.Attributes["when"]; when != nil {
			d.When = when.Expr
		}
		if each := block.Body.Attributes["for_each"]; each != nil {
			d.ForEach = each.Expr
		}
		r, diags := rules.Compile(d, rules.Names{
			Options: []rules.Option{{Name: "mail", ID: "m", Type: "option"}, {Name: "post", ID: "p", Type: "option"}},
			Lookups: []rules.Lookup{{Name: "crm", Fields: map[string]cty.Type{"email": cty.String}}},
		}, contact)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		all = append(all, r)
	}
	return all
}

func rule(name, target, status string) string {
	return fmt.Sprintf("rule %q \"dataguard\" %q {\nrecord {\nemail = citizen.id\nstatus = %s\n}\n}\n", name, target, status)
}

const (
	byMail = `permission.mail.allowed ? "subscribed" : "unsubscribed"`
	byPost = `permission.post.allowed ? "subscribed" : "unsubscribed"`
)

// people are citizens by how mail and post are: + or -.
func people(all ...string) []store.Known {
	known := make([]store.Known, len(all))
	for i, marks := range all {
		id := fmt.Sprintf("citizen-%03d", i)
		s := consent.State{CitizenID: consent.Identifier(id), ExternalRef: consent.Identifier(id + "@example.org"), SentAt: now}
		for n, option := range []string{"m", "p"} {
			s.Permissions = append(s.Permissions, consent.Permission{
				OptionType: "option", OptionID: option, State: map[byte]string{'+': "GRANTED", '-': "DENIED"}[marks[n]], RecordedAt: now,
			})
		}
		known[i] = store.Known{Number: int64(i + 1), Source: "dataguard", CitizenID: id, Version: int64(i + 1), Body: consent.Encode(s)}
	}
	return known
}

func listing(all []store.Known) func(context.Context, int64, int) ([]store.Known, error) {
	return func(_ context.Context, after int64, limit int) ([]store.Known, error) {
		i, _ := slices.BinarySearchFunc(all, after+1, func(k store.Known, n int64) int { return int(k.Number - n) })
		return all[i:min(len(all), i+limit)], nil
	}
}

func side(t testing.TB, text string) Side {
	t.Helper()
	s := Side{Rules: compile(t, text), Records: map[string]sdk.Schema{}}
	for _, r := range s.Rules {
		s.Records[r.Target] = contact
	}
	return s
}

func count(t testing.TB, o Options) []Target {
	t.Helper()
	o.Now, o.HashKey = now, []byte("key")
	targets, err := Count(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

func TestCount(t *testing.T) {
	all := people("+-", "+-", "-+", "++", "--", "+-")
	all[5].Body = nil // does not open
	all = append(all, store.Known{Number: 100, Source: "another", CitizenID: "x", Body: []byte("not looked at")})
	for name, c := range map[string]struct {
		before, after string
		want          map[string]Counts
	}{
		"nothing":            {rule("a", "t", byMail), rule("a", "t", byMail), map[string]Counts{"t": {Unchanged: 5, Errors: 1}}},
		"another permission": {rule("a", "t", byMail), rule("a", "t", byPost), map[string]Counts{"t": {Unchanged: 2, Granted: 1, Withdrawn: 2, Errors: 1}}},
		"everybody":          {rule("a", "t", byMail), rule("a", "t", `"subscribed"`), map[string]Counts{"t": {Unchanged: 3, Granted: 2, Errors: 1}}},
		"a rule that fails":  {rule("a", "t", byMail), rule("a", "t", `regex("nobody", citizen.external_ref)`), map[string]Counts{"t": {Errors: 6}}},
		"a new rule":         {"", rule("a", "t", byMail), map[string]Counts{"t": {New: 5, NewGranted: 3, Errors: 1}}},
		"a rule that is gone, and one that is not": {rule("a", "t", byMail) + rule("b", "u", byMail), rule("b", "u", byMail),
			map[string]Counts{"t": {Gone: 5, Errors: 1}, "u": {Unchanged: 5, Errors: 1}}},
		"another target": {rule("a", "t", byMail), rule("a", "u", byMail), map[string]Counts{"t": {Gone: 5, Errors: 1}, "u": {New: 5, NewGranted: 3, Errors: 1}}},
		"silence":        {rule("a", "t", byMail), strings.Replace(rule("a", "t", byMail), "record", "when = permission.mail.allowed\nrecord", 1), map[string]Counts{"t": {Unchanged: 3, Silenced: 2, Errors: 1}}},
		"two rules of one target": {rule("a", "t", byMail) + rule("b", "t", byMail), rule("a", "t", byMail) + rule("b", "t", byPost),
			map[string]Counts{"t": {Unchanged: 7, Granted: 1, Withdrawn: 2, Errors: 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]Counts{}
			for _, target := range count(t, Options{Citizens: listing(all), Before: side(t, c.before), After: side(t, c.after)}) {
				got[target.Name] = target.Counts
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	only := count(t, Options{Citizens: listing(all), Before: side(t, rule("a", "t", byMail)), After: side(t, rule("a", "t", byMail)+rule("b", "u", byMail)), Target: "u"})
	if len(only) != 1 || only[0].Name != "u" || only[0].New != 5 {
		t.Errorf("one target: %+v", only)
	}
}

func TestLookups(t *testing.T) {
	text := strings.Replace(rule("a", "t", byMail), "citizen.id", "lookup.crm.email", 1)
	known := func(suffix string, not string) func([]string, lookup.Person) (map[string]cty.Value, bool) {
		return func(names []string, p lookup.Person) (map[string]cty.Value, bool) {
			if !slices.Equal(names, []string{"crm"}) || p.Source != "dataguard" || p.ExternalRef != p.ID+"@example.org" {
				t.Errorf("asked for %v of %+v", names, p)
			}
			return map[string]cty.Value{"crm": cty.ObjectVal(map[string]cty.Value{"email": cty.StringVal(p.ID + suffix)})}, p.ID != not
		}
	}
	before, after := side(t, text), side(t, text)
	o := Options{Citizens: listing(people("++", "--", "+-")), Before: before, After: after}
	if got := count(t, o)[0].Counts; got != (Counts{NotLookedUp: 3}) {
		t.Errorf("without answers %+v", got)
	}
	o.Before.Known, o.After.Known = known("@x", ""), known("@x", "citizen-001")
	if got := count(t, o)[0].Counts; got != (Counts{Unchanged: 2, NotLookedUp: 1}) {
		t.Errorf("with answers %+v", got)
	}
	o.After.Known = known("@y", "")
	if got := count(t, o)[0].Counts; got != (Counts{Other: 3}) {
		t.Errorf("with other answers %+v", got)
	}
}

// TestPages reads a large store in pages and never many at once, and ends when it is told to.
func TestPages(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // three workers
	var marks []string
	for i := range 3*pageSize + 7 {
		marks = append(marks, []string{"+-", "-+", "++"}[i%3])
	}
	all := people(marks...)
	var seen []int64
	o := Options{
		Citizens: func(ctx context.Context, after int64, limit int) ([]store.Known, error) {
			if limit != pageSize {
				t.Errorf("a page of %d", limit)
			}
			return listing(all)(ctx, after, limit)
		},
		Before: side(t, rule("a", "t", byMail)), After: side(t, rule("a", "t", byPost)), Samples: 2,
		Progress: func(n int64) { seen = append(seen, n) },
	}
	first := count(t, o)
	if c := first[0].Counts; c.Unchanged+c.Granted+c.Withdrawn != int64(len(all)) || c.Granted != int64(len(all)/3) {
		t.Errorf("counts %+v", c)
	}
	if !slices.Equal(seen, []int64{pageSize, 2 * pageSize, 3 * pageSize, int64(len(all))}) {
		t.Errorf("progress %v", seen)
	}
	var of []string
	for _, s := range first[0].Samples {
		of = append(of, s.Direction+" "+s.Citizen)
	}
	for range 3 {
		if again := count(t, o); fmt.Sprint(again) != fmt.Sprint(first) || len(of) != 4 {
			t.Errorf("the same plan, other samples: %v", again[0].Samples)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(int64) { cancel() }
	o.Now = now
	if _, err := Count(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	o.Citizens = func(context.Context, int64, int) ([]store.Known, error) { return nil, errors.New("the disk is gone") }
	if _, err := Count(context.Background(), o); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("a store that fails: %v", err)
	}
}

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"text":              {`{"email":"a@x"}`, `{"email":"b@x"}`, "email: (masked) to (masked)"},
		"number":            {`{"score":1}`, `{"score":2}`, "score: (masked) to (masked)"},
		"enum":              {`{"status":"subscribed"}`, `{"status":"unsubscribed"}`, `status: "subscribed" to "unsubscribed"`},
		"not of the enum":   {`{"status":"subscribed"}`, `{"status":"ann"}`, `status: "subscribed" to (masked)`},
		"bool":              {`{"vip":true}`, `{"vip":false}`, "vip: true to false"},
		"no bool":           {`{"vip":true}`, `{"vip":"ann"}`, "vip: true to (masked)"},
		"null and absent":   {`{"email":"a@x"}`, `{"email":null,"vip":null}`, "email: (masked) to null; vip: (absent) to null"},
		"map of bool":       {`{"interests":{"ann@x":true}}`, `{"interests":{"ann@x":false}}`, "interests.(masked): true to false"},
		"map of enum":       {`{"levels":{"ann@x":"low"}}`, `{"levels":{"ann@x":"high"}}`, `levels.(masked): "low" to "high"`},
		"an empty map":      {`{"interests":{}}`, `{"interests":{"jazz":true}}`, "interests: (masked) to (absent); interests.(masked): (absent) to true"},
		"anything":          {`{"fields":{"ann@x":true}}`, `{"fields":{"ann@x":false}}`, "fields: (masked) to (masked)"},
		"list":              {`{"tags":["a"]}`, `{"tags":["b"]}`, "tags: (masked) to (masked)"},
		"sensitive":         {`{"hidden":true}`, `{"hidden":false}`, "hidden: (masked) to (masked)"},
		"block":             {`{"address":{"city":"x","checked":true}}`, `{"address":{"city":"y","checked":false}}`, "address.checked: true to false; address.city: (masked) to (masked)"},
		"repeated block":    {`{"phone":[{"ok":true}]}`, `{"phone":[{"ok":false}]}`, "phone: (masked) to (masked)"},
		"not in the schema": {`{"ann":true}`, `{"ann":false}`, "(masked): (masked) to (masked)"},
		"in a map's depth":  {`{"interests":{"a":{"ann":true}}}`, `{"interests":{"a":{"ann":false}}}`, "interests: (masked) to (masked)"},
		"new":               {``, `{"vip":true}`, "vip: (absent) to true"},
	} {
		var before json.RawMessage
		if c.before != "" {
			before = json.RawMessage(c.before)
		}
		var got []string
		for _, d := range differences(contact, before, json.RawMessage(c.after)) {
			got = append(got, fmt.Sprintf("%s: %s to %s", d.At, d.Before, d.After))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "; "), c.want)
		}
	}
}

// TestNothingPersonal: whatever a citizen's values are and wherever a rule puts them, no answer holds one.
func TestNothingPersonal(t *testing.T) {
	const body = "record {\nemail = %[1]s\ntags = [%[1]s]\nfields = { (%[1]s) = %[1]s, ok = permission.mail.allowed }\ninterests = { (%[1]s) = permission.mail.allowed }\n" +
		"address {\ncity = %[1]s\n}\n}\n}\n"
	text := func(of, extra string) string {
		return "rule \"a\" \"dataguard\" \"t\" {\n" + extra + fmt.Sprintf(body, of)
	}
	sides := []Side{
		side(t, text("citizen.external_ref", "")), side(t, text("upper(citizen.external_ref)", "")),
		side(t, text("citizen.id", "when = permission.mail.allowed\n")), side(t, text(`"${citizen.id}${each.key}"`, "for_each = [1, 2, 3]\n")), side(t, ""),
	}
	rapid.Check(t, func(t *rapid.T) {
		value := "Zq" + rapid.StringMatching(`[a-z@."\\/ {}-]{0,12}`).Draw(t, "value") + "Zq"
		all := people("+-", "-+", "++")
		for i := range all {
			s, err := consent.Decode(all[i].Body)
			if err != nil {
				t.Fatal(err)
			}
			s.ExternalRef, s.CitizenID = consent.Identifier(value), consent.Identifier(value+fmt.Sprint(i))
			all[i].CitizenID, all[i].Body = string(s.CitizenID), consent.Encode(s)
		}
		targets, err := Count(context.Background(), Options{
			Citizens: listing(all), Before: rapid.SampledFrom(sides).Draw(t, "before"), After: rapid.SampledFrom(sides).Draw(t, "after"), Samples: 3, Now: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if out := fmt.Sprintf("%+v", targets); strings.Contains(strings.ToLower(out), "zq") {
			t.Errorf("it shows %s", out)
		}
	})
}
