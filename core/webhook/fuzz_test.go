package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Any authenticated body is either accepted or quarantined, whole and as it came.
func FuzzBody(f *testing.F) {
	good := update("c-1", "GRANTED", monday)
	for _, seed := range []string{
		good, good[:50], "", "null", "[]", "{}", `{"citizenId":1e400}`, strings.Replace(good, `"c-1"`, "null", 1),
		strings.Replace(good, "J. Roe", "\xff", 1), strings.Repeat("[", 2000), good + " " + good,
		`{"citizenId":"a","citizenId":"b"}`, strings.Replace(good, monday, "9999-12-31T23:59:59.999999999+23:59", 2),
	} {
		f.Add([]byte(seed))
	}
	b := newBench(f, keyAuth())
	f.Fuzz(func(t *testing.T, body []byte) {
		b.store.citizens, b.store.accepted, b.store.quarantined = nil, nil, nil
		req, _ := http.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		req.Header = withKey(nil)
		w := newRecorder()
		b.handler.ServeHTTP(w, req)
		switch w.Code {
		case 200:
			if len(b.store.accepted) != 1 || !bytes.Equal(b.store.accepted[0].Body, body) {
				t.Error("accepted, and the store does not have it")
			}
		case 202:
			if len(b.store.quarantined) != 1 || !bytes.Equal(b.store.quarantined[0].Body, body) {
				t.Error("quarantined, and the store does not have it")
			}
		case 413:
			if len(body) <= maxBody {
				t.Errorf("%d bytes are too large", len(body))
			}
		default:
			t.Errorf("answer = %d", w.Code)
		}
	})
}

// Whatever is posted, a token is issued only for the refresh token, and errors are the RFC's.
func FuzzTokenRequest(f *testing.F) {
	for _, seed := range []struct{ contentType, authorization, body string }{
		{"application/x-www-form-urlencoded", "", "grant_type=refresh_token&refresh_token=" + refreshOne},
		{"application/json", "", `{"grant_type":"refresh_token","refresh_token":"` + refreshOne + `"}`},
		{"application/json", "Basic YTpi", `{"grant_type":"refresh_token","refresh_token":"\u0072"}`},
		{"", "Basic !", "grant_type=refresh_token&refresh_token=a&refresh_token=b"},
		{"text/plain; charset", "Bearer x", "{"},
		{"application/x-www-form-urlencoded", "", "%zz=&;"},
	} {
		f.Add(seed.contentType, seed.authorization, []byte(seed.body))
	}
	b := newBench(f, oauth())
	f.Fuzz(func(t *testing.T, contentType, authorization string, body []byte) {
		req, _ := http.NewRequest(http.MethodPost, tokenPath, bytes.NewReader(body))
		req.Header = http.Header{"Content-Type": {contentType}, "Authorization": {authorization}}
		w := newRecorder()
		b.handler.ServeHTTP(w, req)
		var answer struct {
			tokenAnswer
			Error string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
		}
		switch w.Code {
		case 200:
			if statusWith(t, b.handler, answer.AccessToken) != 200 {
				t.Error("the token issued is not valid")
			}
			// Escapes could spell it otherwise; one that decodes to it is as good.
			if !bytes.Contains(body, []byte("%")) && !bytes.Contains(body, []byte(`\`)) && !bytes.Contains(body, []byte(refreshOne)) {
				t.Errorf("a token was issued for %q", body)
			}
		case 400, 401, 413:
			if answer.AccessToken != "" || answer.Error == "" {
				t.Errorf("answer = %d %s", w.Code, w.Body)
			}
		default:
			t.Errorf("answer = %d", w.Code)
		}
	})
}
