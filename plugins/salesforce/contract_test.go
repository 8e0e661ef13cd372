package salesforce

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// published is one request of the vendor's API collection.
type published struct {
	Name        string
	Method      string
	URL         string
	Description string
	RawModeData string
	Data        []formField
	HeaderData  []struct{ Key, Value string }
	Events      []struct{ Script struct{ Exec []string } }
}

type formField struct {
	Key   string
	Value any // a string, or a list for files
}

// notPublished are the calls that the collection, which is for version 48.0, does not hold, and what
// they are held to instead.
var notPublished = map[string]string{
	"PATCH /services/data/v*/composite/sobjects/*/*":       "SObject Collections Update", // the same without the external id field
	"POST /services/oauth2/token grant client_credentials": "",                           // only to the documentation
}

func publishedRequests(t *testing.T) []published {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared(t), "vendor-specs", "salesforce", "salesforce-apis.postman_export.json"))
	if err != nil {
		t.Fatal(err)
	}
	var export struct {
		Collections []struct{ Requests []published }
	}
	if err := json.Unmarshal(data, &export); err != nil {
		t.Fatal(err)
	}
	return export.Collections[0].Requests
}

// shared finds the folder of vendor descriptions, which is not part of the project.
func shared(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("CONSENTD_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if found := filepath.Join(filepath.Dir(dir), "shared"); isDir(filepath.Join(found, "vendor-specs")) {
			return found
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("the vendor descriptions are missing: set CONSENTD_SHARED")
	}
	t.Skip("no vendor descriptions: set CONSENTD_SHARED or put them in a folder \"shared\" beside the project")
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

var (
	placeholder = regexp.MustCompile(`<[A-Z_]+>|\{\{_jobId\}\}`)
	variable    = regexp.MustCompile(`^\{\{(url|_endpoint)\}\}(\{\{site\}\})?`)
)

// path is the request's path with * for what varies, and its query.
func (p published) path() (string, url.Values) {
	path := variable.ReplaceAllString(p.URL, "")
	path = placeholder.ReplaceAllString(strings.ReplaceAll(path, "{{version}}", "*"), "*")
	path, query, _ := strings.Cut(path, "?")
	values, _ := url.ParseQuery(query)
	return strings.TrimSuffix(path, "/"), values
}

// methods are the request's own and those that its description adds ("HEAD, GET, PATCH, DELETE, POST").
func (p published) methods() []string {
	all := []string{p.Method}
	for line := range strings.Lines(p.Description) {
		if words := strings.Split(strings.TrimSpace(line), ", "); slices.Contains(words, p.Method) {
			all = append(all, words...)
		}
	}
	return all
}

func (p published) grant() string {
	for _, d := range p.Data {
		if d.Key == "grant_type" {
			grant, _ := d.Value.(string)
			return grant
		}
	}
	return ""
}

func fits(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(path, "/"), "/")
	return slices.EqualFunc(want, got, func(want, got string) bool {
		prefix, varies := strings.CutSuffix(want, "*")
		return want == got || varies && strings.HasPrefix(got, prefix) && len(got) > len(prefix)
	})
}

// Every call of the plugin is one that the vendor publishes: method, path, query, headers, body keys.
func TestCallsArePublished(t *testing.T) {
	requests := publishedRequests(t)
	key, pem := testKey()
	org := newOrg(t)
	org.SetPublicKey(&key.PublicKey)
	target := mustTarget(t, clientCredentials(org.url))
	records := []sdk.Record{contact(t, "5f0c", attrs{"HasOptedOutOfEmail": false}), contact(t, "77aa", nil), contact(t, "refuses", attrs{"DoNotCall": true})}
	target.Check(t.Context())
	got := target.Deliver(t.Context(), records)
	expectAll(t, got[:2], sdk.KindDelivered, "")
	expect(t, got[2], sdk.KindUnchanged, "") // nobody to refuse for
	target.Read(t.Context(), append(records, contact(t, "nobody", nil)))
	target.Erase(t.Context(), records)
	for _, more := range []attrs{
		{"username": sim.Username, "private_key": pem},
		{"refresh_token": sim.RefreshToken, "client_secret": sim.ClientSecret},
	} {
		more["login_url"], more["client_id"] = org.url, sim.ClientID
		expect(t, mustTarget(t, more).Check(t.Context()), sdk.KindDelivered, "")
	}

	covered := map[string]bool{}
	for _, e := range org.calls("/") {
		fitting := publishedFor(t, requests, e)
		if len(fitting) == 0 {
			t.Errorf("%s %s is neither published nor listed", e.method, e.path)
		}
		for _, p := range fitting {
			covered[p.Name] = true
			checkQuery(t, p, e)
			checkHeaders(t, p, e)
			checkBody(t, p, e)
		}
	}
	for _, name := range []string{"JWT Bearer Token Flow", "Refresh Token", "Resources by Version", "SObject Rows by External ID", "Query", "Composite", "SObject Collections Update"} {
		if !covered[name] {
			t.Errorf("no call was held to %q", name)
		}
	}
	t.Log("not in the collection, so held to documentation only: the client credentials flow, the external id segment of the collections upsert, and all bodies of answers but the token's")
}

// publishedFor are the requests that e may be: several where only the names of placeholders differ.
func publishedFor(t *testing.T, requests []published, e exchange) []published {
	t.Helper()
	form := url.Values{}
	if strings.HasPrefix(e.header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ = url.ParseQuery(string(e.body))
	}
	var fitting []published
	for _, p := range requests {
		if path, _ := p.path(); slices.Contains(p.methods(), e.method) && fits(path, e.path) && p.grant() == form.Get("grant_type") {
			fitting = append(fitting, p)
		}
	}
	for call, like := range notPublished {
		method, rest, _ := strings.Cut(call, " ")
		path, grant, _ := strings.Cut(rest, " grant ")
		if method != e.method || !fits(path, e.path) || grant != form.Get("grant_type") {
			continue
		}
		if len(fitting) > 0 {
			t.Errorf("%s is published now", call)
		}
		if like == "" {
			return []published{{Name: call}}
		}
		for _, p := range requests {
			if p.Name == like {
				fitting = append(fitting, p)
			}
		}
	}
	return fitting
}

func checkQuery(t *testing.T, p published, e exchange) {
	t.Helper()
	_, want := p.path()
	got, _ := url.ParseQuery(e.query)
	for name := range want {
		if !got.Has(name) {
			t.Errorf("%s: the query lacks %q", p.Name, name)
		}
	}
	for name := range got {
		if !want.Has(name) {
			t.Errorf("%s: the query has %q, which is not published", p.Name, name)
		}
	}
}

func checkHeaders(t *testing.T, p published, e exchange) {
	t.Helper()
	for _, h := range p.HeaderData {
		got := e.header.Get(h.Key)
		switch {
		case h.Key == "Content-Type" && len(e.body) == 0: // the collection sets it on reads too
		case h.Key == "Authorization" && (!strings.HasPrefix(got, "Bearer ") || !strings.HasPrefix(h.Value, "Bearer ")):
			t.Errorf("%s: Authorization is not a bearer token", p.Name)
		case h.Key == "Content-Type" && got != h.Value:
			t.Errorf("%s: %s is %q, want %q", p.Name, h.Key, got, h.Value)
		case got == "" && h.Key != "Content-Type":
			t.Errorf("%s: no header %s", p.Name, h.Key)
		}
	}
}

func checkBody(t *testing.T, p published, e exchange) {
	t.Helper()
	var want, got []string
	switch {
	case len(p.Data) > 0:
		for _, d := range p.Data {
			want = append(want, d.Key)
		}
		form, _ := url.ParseQuery(string(e.body))
		for name := range form {
			got = append(got, name)
		}
	case p.RawModeData != "":
		want, got = keys(t, []byte(p.RawModeData)), keys(t, e.body)
	default:
		return
	}
	want = slices.DeleteFunc(want, func(key string) bool { return key == "collateSubrequests" && !slices.Contains(got, key) }) // optional
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("%s: the body has %v, published are %v", p.Name, got, want)
	}
}

func keys(t *testing.T, object []byte) []string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(object, &fields); err != nil {
		t.Fatalf("not an object: %v", err)
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	return names
}

var scriptKey = regexp.MustCompile(`jsonData\.(\w+)`)

// The simulator's token answers hold what the collection's own scripts read from Salesforce's. There
// are no example answers in the collection beyond that.
func TestSimulatorTokenAnswer(t *testing.T) {
	requests := publishedRequests(t)
	org := newOrg(t)
	s, err := readSettings(sdk.Config{Fields: plugintest.Encode(t, attrs{"login_url": org.url, "client_id": sim.ClientID, "refresh_token": sim.RefreshToken})})
	if err != nil {
		t.Fatal(err)
	}
	form, err := s.grant(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.PostForm(org.url+"/services/oauth2/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var answer map[string]string
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, p := range requests {
		if p.Name != "Refresh Token" && p.Name != "JWT Bearer Token Flow" {
			continue
		}
		for _, event := range p.Events {
			for _, m := range scriptKey.FindAllStringSubmatch(strings.Join(event.Script.Exec, "\n"), -1) {
				read++
				if answer[m[1]] == "" {
					t.Errorf("%s reads %q, which the simulator does not answer", p.Name, m[1])
				}
			}
		}
	}
	if read == 0 {
		t.Error("the scripts read nothing: the collection has changed")
	}
	if parts := strings.Split(answer["id"], "/"); len(parts) < 2 {
		t.Errorf("id is %q, want it to end in organisation and user", answer["id"])
	}
}
