package dataverse

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

	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// published is one request of the vendor's API collection.
type published struct {
	Name    string
	Request struct {
		Method string
		URL    struct{ Raw string }
		Body   struct{ Raw string }
	}
}

// notPublished are the calls that the collection, a small one, does not hold. They are held to Microsoft's
// pages only: "Execute batch operations using the Web API", "WhoAmI Function", "Client credentials flow" and
// "Sync the Dynamics 365 contact's consent with the consent table".
var notPublished = []string{
	"POST /api/data/*/$batch",
	"GET /api/data/*/WhoAmI",
	"POST /*/oauth2/v2.0/token",
	"GET /api/data/*/contacts(*)",
	"GET /api/data/*/msdynmkt_contactpointconsent4s",
	"PATCH /api/data/*/msdynmkt_contactpointconsent4s(*)",
	"DELETE /api/data/*/msdynmkt_contactpointconsent4s(*)",
}

func publishedRequests(t *testing.T) []published {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared(t), "vendor-specs", "dataverse", "Dataverse-Web-API.postman_collection.json"))
	if err != nil {
		t.Fatal(err)
	}
	var collection struct{ Item []published }
	if err := json.Unmarshal(data, &collection); err != nil {
		t.Fatal(err)
	}
	return collection.Item
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
		found := filepath.Join(filepath.Dir(dir), "shared")
		if info, err := os.Stat(filepath.Join(found, "vendor-specs")); err == nil && info.IsDir() {
			return found
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("the vendor descriptions are missing: set CONSENTD_SHARED")
	}
	t.Skip("no vendor descriptions: set CONSENTD_SHARED or put them in a folder \"shared\" beside the project")
	return ""
}

var (
	version = regexp.MustCompile(`^/api/data/v9\.[0-9]/`)
	tenant  = regexp.MustCompile(`^/` + guidPattern + `/oauth2/`)
	inside  = regexp.MustCompile(`\(.*\)`)
)

const guidPattern = `[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`

// shape is a method and a path with * for what varies.
func shape(method, path string) string {
	path = version.ReplaceAllString(path, "/api/data/*/")
	path = tenant.ReplaceAllString(path, "/*/oauth2/")
	return method + " " + inside.ReplaceAllString(path, "(*)")
}

// Every call of the plugin, and every operation of its batches, is one that the vendor publishes or one
// that is listed here.
func TestCallsArePublished(t *testing.T) {
	known := map[string]*published{}
	queries := map[string]bool{}
	for _, p := range publishedRequests(t) {
		raw := strings.TrimPrefix(p.Request.URL.Raw, "{{resource}}")
		path, query, _ := strings.Cut(raw, "?")
		known[shape(p.Request.Method, path)] = &p
		for pair := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(pair, "=")
			queries[name] = true
		}
	}
	for _, s := range notPublished {
		if known[s] != nil {
			t.Errorf("%s is published now", s)
		}
	}

	e := newEnvironment(t)
	target := mustTarget(t, config(e.url, nil))
	id := e.Put("contacts", attrs{"acme_cpmid": "5f0c", "donotemail": false})
	records := []sdk.Record{
		contact(t, "77aa", attrs{"donotemail": false, "birthdate": "1970-01-01"}),
		plugintest.Record(t, attrs{"table": "contacts", "id": id, "columns": attrs{"mobilephone": "911"}}),
		consentOf(t, "ann@example.com", "opted_in"),
	}
	expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
	target.Read(t.Context(), records)
	expectAll(t, target.Erase(t.Context(), records), sdk.KindDelivered, "")

	covered := map[string]bool{}
	for _, c := range slices.Concat(e.calls, e.operations) {
		s := shape(c.method, c.path)
		if known[s] == nil && !slices.Contains(notPublished, s) {
			t.Errorf("%s is neither published nor listed", s)
		}
		covered[s] = true
		values, _ := url.ParseQuery(c.query)
		for name := range values {
			if !queries[name] {
				t.Errorf("%s: the query has %q, which is not published", s, name)
			}
		}
		// Bodies are one object of columns, as in the collection.
		var body map[string]any
		if c.method == http.MethodPatch && (json.Unmarshal([]byte(c.body), &body) != nil || c.header.Get("Content-Type") != "application/json") {
			t.Errorf("%s: %s", s, c.body)
		}
		if strings.HasPrefix(c.path, "/api/data/") && c.header.Get("Accept") != "application/json" {
			t.Errorf("%s: Accept is %q", s, c.header.Get("Accept"))
		}
	}
	for _, s := range append(notPublished, "PATCH /api/data/*/contacts(*)", "DELETE /api/data/*/contacts(*)") {
		if !covered[s] {
			t.Errorf("no call was %s", s)
		}
	}
	for _, c := range e.calls {
		if strings.HasPrefix(c.path, "/api/data/") {
			for header, want := range map[string]string{"OData-Version": "4.0", "OData-MaxVersion": "4.0", "If-None-Match": "null"} {
				if c.header.Get(header) != want {
					t.Errorf("%s: %s is %q", c.path, header, c.header.Get(header))
				}
			}
		}
	}
}
