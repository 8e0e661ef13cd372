package webhook

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/consentd/consentd/core/config"
)

func TestCredentials(t *testing.T) {
	const first, second = "first-4be1", "second-77d0"
	keys := []string{first, second}
	bearer := config.Auth{Mode: config.AuthToken, Header: "Authorization", Prefix: "Bearer", Keys: keys}
	header := func(name string, values ...string) http.Header { return http.Header{name: values} }
	for _, tc := range []struct {
		name   string
		auth   config.Auth
		header http.Header
		query  string
		status int
	}{
		{"none, nothing given", config.Auth{Mode: config.AuthNone}, nil, "", 200},
		{"none, something given", config.Auth{Mode: config.AuthNone}, header("Authorization", "Bearer x", "y"), "?a=b", 200},

		{"key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", first), "", 200},
		{"second key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", second), "", 200},
		{"wrong key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", "third"), "", 401},
		{"longer key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", first+"x"), "", 401},
		{"shorter key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", first[:5]), "", 401},
		{"other case", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", strings.ToUpper(first)), "", 401},
		{"empty key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", ""), "", 401},
		{"two right keys", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", first, second), "", 401},
		{"wrong and right key", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Any-Name", "wrong", first), "", 401},
		{"key in another header", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, header("X-Api-Key", first), "", 401},
		{"key in the query instead", config.Auth{Mode: config.AuthAPIKey, Header: "x-any-name", Keys: keys}, nil, "?x-any-name=" + first, 401},

		{"query key", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "?a=1&key=" + second, 200},
		{"escaped query key", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: []string{"a+b&c"}}, nil, "?key=" + url.QueryEscape("a+b&c"), 200},
		{"wrong query key", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "?key=third", 401},
		{"query key twice", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "?key=" + first + "&key=" + first, 401},
		{"empty query key", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "?key=", 401},
		{"no query key", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "", 401},
		{"malformed query", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, nil, "?key=" + first + "&%zz", 401},
		{"query key in the header instead", config.Auth{Mode: config.AuthAPIKey, Query: "key", Keys: keys}, header("Key", first), "", 401},

		{"token", bearer, header("Authorization", "Bearer "+first), "", 200},
		{"scheme in any case", bearer, header("Authorization", "bearer  "+first), "", 200},
		{"other scheme", bearer, header("Authorization", "Basic "+first), "", 401},
		{"scheme glued on", bearer, header("Authorization", "Bearer"+first), "", 401},
		{"scheme alone", bearer, header("Authorization", "Bearer "), "", 401},
		{"token without scheme", bearer, header("Authorization", first), "", 401},
		{"several authorizations", bearer, header("Authorization", "Bearer "+first, "Bearer "+first), "", 401},
		{"empty authorization", bearer, header("Authorization", ""), "", 401},
		{"no token", bearer, nil, "", 401},
		{"token with own header and prefix", config.Auth{Mode: config.AuthToken, Header: "X-Token", Prefix: "Token", Keys: keys}, header("X-Token", "Token "+second), "", 200},
		{"token with own header and no prefix", config.Auth{Mode: config.AuthToken, Header: "X-Token", Keys: keys}, header("X-Token", second), "", 200},
		{"token in the query", config.Auth{Mode: config.AuthToken, Query: "access_token", Keys: keys}, nil, "?access_token=" + first, 200},
		{"wrong token in the query", config.Auth{Mode: config.AuthToken, Query: "access_token", Keys: keys}, nil, "?access_token=x", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.auth)
			got := b.do(t, http.MethodPost, path+tc.query, tc.header, strings.NewReader(update("c-1", "GRANTED", monday)))
			if got.status != tc.status {
				t.Fatalf("answer = %d %s, want %d", got.status, got.body, tc.status)
			}
			if a, q := b.store.counts(); a+q != 0 && tc.status == 401 {
				t.Error("what was refused reached the store")
			}
			if tc.status == 401 && got.header.Get("WWW-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
		})
	}
}

func TestSources(t *testing.T) {
	b := newBench(t, keyAuth())
	for _, tc := range []struct {
		name   string
		change func(*config.Source)
		want   string
	}{
		{"path without slash", func(s *config.Source) { s.Path = "hook" }, "does not begin with a slash"},
		{"path taken", func(s *config.Source) { s.Path = path }, "in use already"},
		{"no key", func(s *config.Source) { s.Auth.Keys = nil }, "no key is set"},
		{"empty key", func(s *config.Source) { s.Auth.Keys = []string{"a", ""} }, "a secret is empty"},
		{"nowhere", func(s *config.Source) { s.Auth.Header = "" }, "either a header or a query parameter"},
		{"two places", func(s *config.Source) { s.Auth.Query = "key" }, "either a header or a query parameter"},
		{"token nowhere", func(s *config.Source) { s.Auth = oauth(); s.Auth.Header = "" }, "either a header or a query parameter"},
		{"no mode", func(s *config.Source) { s.Auth.Mode = "" }, "not known"},
		{"no refresh token", func(s *config.Source) { s.Auth = oauth(); s.Auth.RefreshTokens = nil }, "no refresh token"},
		{"empty refresh token", func(s *config.Source) { s.Auth = oauth(); s.Auth.RefreshTokens = []string{""} }, "refresh token is empty"},
		{"secret of nobody", func(s *config.Source) { s.Auth = oauth(); s.Auth.ClientSecret = "s" }, "no client id"},
		{"lifetime of nothing", func(s *config.Source) { s.Auth = oauth(); s.Auth.TokenLifetime = 1 }, "under a second"},
		{"no token path", func(s *config.Source) { s.Auth = oauth(); s.Auth.TokenPath = "" }, "does not begin with a slash"},
		{"token path taken", func(s *config.Source) { s.Auth = oauth(); s.Auth.TokenPath = path }, "in use already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			other := b.source
			other.Name, other.Path = "other", "/webhooks/other"
			tc.change(&other)
			if _, err := New(b.options(b.source, other)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestSourcesAreApart(t *testing.T) {
	b := newBench(t, keyAuth())
	other := b.source
	other.Name, other.Path, other.Auth.Keys = "other", "/webhooks/other", []string{"another"}
	h := b.make(t, b.source, other)
	req, _ := http.NewRequest(http.MethodPost, other.Path, strings.NewReader(update("c-1", "GRANTED", monday)))
	req.Header = withKey(nil)
	w := newRecorder()
	if h.ServeHTTP(w, req); w.Code != 401 {
		t.Errorf("one source's key at another: answer = %d", w.Code)
	}
}

func TestSecrets(t *testing.T) {
	s, err := newSecrets("one", "two", "two")
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]bool{"one": true, "two": true, "": false, "On": false, "onetwo": false} {
		if got := s.hold(given); got != want {
			t.Errorf("hold(%q) = %v", given, got)
		}
	}
	if secrets(nil).hold("") {
		t.Error("no secrets hold the empty one")
	}
}

// Time cannot be measured on a busy machine, so the shape of the comparison is held instead: digests,
// subtle, and no way out of the loop.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "auth.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var loops, compares int
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "hold" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			loop, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			loops++
			ast.Inspect(loop.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ReturnStmt, *ast.BranchStmt, *ast.IfStmt, *ast.BinaryExpr:
					t.Errorf("the loop over secrets has a %T", n)
				case *ast.SelectorExpr:
					if n.Sel.Name == "ConstantTimeCompare" {
						compares++
					}
				}
				return true
			})
			return false
		})
	}
	if loops != 1 || compares != 1 {
		t.Errorf("secrets.hold has %d loops with %d constant-time comparisons, want one of each", loops, compares)
	}
}
