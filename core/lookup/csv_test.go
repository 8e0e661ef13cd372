package lookup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.csv")
	writeFile(t, path, "\xef\xbb\xbfid,e-mail,vip\nref-ada,ada@example.org,true\nref-bob,,\n"+
		"ref-cleo,cleo@example.org,false\nref-cleo,other@example.org,false\nref-dan,\"dan, \"\"the man\"\"\",\nref-dan,\"dan, \"\"the man\"\"\",\n")
	c := config("email string e-mail", "vip? bool vip")
	c.CSV = &CSV{Path: path, Key: "id", Match: *expression(t, "citizen.external_ref")}
	s, log := opened(t, c)
	for ref, want := range map[string]string{
		"ref-ada":  `email=StringVal("ada@example.org" vip=True`,
		"ref-bob":  `lookup "crm" knows no email of them`,
		"ref-cleo": `lookup "crm" knows more than one person by these ids`,
		"ref-dan":  `email=StringVal("dan, \"the man\"" vip=null`,
		"ref-eve":  `lookup "crm" knows nobody by these ids`,
		"":         `lookup "crm" knows nobody by these ids`,
	} {
		if got := ask(s, Person{ID: "c", ExternalRef: ref}); got != want {
			t.Errorf("%q: %s, want %s", ref, got, want)
		}
	}

	eventually := func(what, want string) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if got = ask(s, ada); got == want {
				return
			}
		}
		t.Errorf("%s: %s, want %s", what, got, want)
	}
	writeFile(t, path, "id,e-mail,vip\nref-ada,lovelace@example.org,false\n")
	eventually("it changed", `email=StringVal("lovelace@example.org" vip=False`)
	for what, broken := range map[string]string{
		"a quote is open":    "id,e-mail,vip\n\"ref-ada,x@example.org,true\n",
		"a column is gone":   "id,mail,vip\nref-ada,x@example.org,true\n",
		"no names":           "ref-ada,x@example.org,true\n",
		"empty":              "",
		"a value is no bool": "id,e-mail,vip\nref-ada,x@example.org,hopefully\n",
	} {
		before := strings.Count(log.String(), "cannot be read again")
		writeFile(t, path, broken)
		b := s.byName["crm"].backend.(*csvBackend)
		for deadline := time.Now().Add(30 * time.Second); strings.Count(log.String(), "cannot be read again") == before && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			ask(s, ada)
		}
		if strings.Count(log.String(), "cannot be read again") != before+1 || len(*b.table.Load()) != 1 {
			t.Errorf("%s: the log says\n%s", what, log)
		}
		if got := ask(s, ada); got != `email=StringVal("lovelace@example.org" vip=False` {
			t.Errorf("%s: %s", what, got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lookAgain)
	if got := ask(s, ada); !strings.Contains(got, "lovelace") {
		t.Errorf("the file is gone: %s", got)
	}
	writeFile(t, path, "id,e-mail,vip\nref-ada,again@example.org,false\n")
	eventually("it is back", `email=StringVal("again@example.org" vip=False`)
	for _, leak := range []string{"@example.org", "ref-", "hopefully"} {
		if strings.Contains(log.String(), leak) {
			t.Errorf("the log says %s:\n%s", leak, log)
		}
	}
}
