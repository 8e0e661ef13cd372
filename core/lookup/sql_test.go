package lookup

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// people is a table of them; %s is what keeps them apart.
const people = `CREATE TABLE people (id VARCHAR(50), email VARCHAR(50), vip BOOLEAN, score NUMERIC(10, 2), since DATE)`

var rows = []string{
	`INSERT INTO people VALUES ('ref-ada', 'ada@example.org', TRUE, 1.5, NULL)`,
	`INSERT INTO people VALUES ('ref-bob', NULL, FALSE, NULL, NULL)`,
	`INSERT INTO people VALUES ('ref-cleo', 'cleo@example.org', TRUE, 2, NULL)`,
	`INSERT INTO people VALUES ('ref-cleo', 'other@example.org', TRUE, 2, NULL)`,
	`INSERT INTO people VALUES ('ref-dan', '', TRUE, 2, NULL)`,
}

// fill makes the table.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	defer db.Close()
	for _, q := range append([]string{people}, rows...) {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
}

// conforms holds a database to what every one of them has to do.
func conforms(t *testing.T, driver, dsn, parameter string) {
	open := func(query string) (*Set, *written) {
		c := config("email string email", "vip? bool vip", "score? number score")
		c.SQL = &SQL{Driver: driver, DSN: dsn, Query: query, Args: []Expr{*expression(t, "citizen.external_ref")}}
		return opened(t, c)
	}
	const nobody = `lookup "crm" knows nobody by these ids`
	query := "SELECT email, vip, score, since FROM people WHERE id = " + parameter
	s, log := open(query)
	if diags := s.Check(context.Background()); len(diags) > 0 {
		t.Error(diags)
	}
	for ref, want := range map[string]string{
		"ref-ada":                   `email=StringVal("ada@example.org" score=MustParseNumberVal("1.5" vip=True`,
		"ref-bob":                   `lookup "crm" knows no email of them`,
		"ref-cleo":                  `lookup "crm" knows more than one person by these ids`,
		"ref-dan":                   `lookup "crm" knows no email of them`,
		"ref-eve":                   nobody,
		"":                          nobody,
		"' OR '1'='1":               nobody,
		"x'; DROP TABLE people; --": nobody,
	} {
		got := ask(s, Person{ID: "c", ExternalRef: ref})
		if strings.HasPrefix(want, "email=") && strings.Contains(got, "NumberFloatVal(1.5") {
			got = strings.Replace(got, "NumberFloatVal(1.5", `MustParseNumberVal("1.5"`, 1)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", ref, got, want)
		}
	}
	for _, wrong := range []string{
		"SELECT email FROM people WHERE id = " + parameter,
		"SELECT email FROM persons WHERE id = " + parameter,
		"SELECT email WHERE",
	} {
		s, more := open(wrong)
		got := ask(s, ada)
		if !strings.HasPrefix(got, `lookup "crm" failed: the`) || !strings.Contains(more.String(), "lookup fails") {
			t.Errorf("%s: %s", wrong, got)
		}
		_, _ = log.Write([]byte(more.String()))
	}
	if strings.Contains(log.String(), "ref-ada") || strings.Contains(log.String(), "example.org") {
		t.Errorf("the log names somebody:\n%s", log)
	}
}

func TestSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people with space?.db")
	s, _ := sqliteAt(t, path)
	if got := ask(s, ada); got != `lookup "crm" failed: the database answers with SQLite error 14` {
		t.Errorf("no file: %s", got)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made")
	}
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer(" ", "%20", "?", "%3F").Replace(path))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db)
	conforms(t, "sqlite", path, "?")

	c := config("email string email")
	c.SQL = &SQL{Driver: "sqlite", DSN: path, Query: "UPDATE people SET vip = 0 WHERE id = ? RETURNING email", Args: []Expr{*expression(t, "citizen.external_ref")}}
	s, _ = opened(t, c)
	if got := ask(s, ada); got != `lookup "crm" failed: the database answers with SQLite error 8` {
		t.Errorf("a query that writes: %s", got)
	}
}

func sqliteAt(t *testing.T, path string) (*Set, *written) {
	c := config("email string email")
	c.SQL = &SQL{Driver: "sqlite", DSN: path, Query: "SELECT email FROM people WHERE id = ?", Args: []Expr{*expression(t, "citizen.external_ref")}}
	return opened(t, c)
}

// need skips a test whose server is not installed, but not where everything is to be tested.
func need(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed", c)
			}
			t.Skipf("%s is not installed", c)
		}
	}
}

// nobodys is a folder of the user under whom servers run, and a command that runs as them: servers refuse root.
func nobodys(t *testing.T) (dir string, command func(name string, args ...string) *exec.Cmd) {
	t.Helper()
	dir, err := os.MkdirTemp("", "consentd-lookup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if os.Getuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
		return cmd
	}
}

// started runs a server until the end of the test, and waits until it can be asked.
func started(t *testing.T, cmd *exec.Cmd, driver, dsn string) *sql.DB {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return db
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v\n%s", err, out.String())
		}
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestPostgres(t *testing.T) {
	dsn := pgtest.New(t).DSN("postgres")
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db)
	conforms(t, "postgres", dsn, "$1")
}

func TestMySQL(t *testing.T) {
	need(t, "mariadbd", "mariadb-install-db")
	dir, command := nobodys(t)
	if out, err := command("mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	port := freePort(t)
	server := command("mariadbd", "--no-defaults", "--datadir="+dir+"/data", "--socket="+dir+"/s", "--port="+port, "--bind-address=127.0.0.1", "--pid-file="+dir+"/pid")
	db := started(t, server, "mysql", "root@tcp(127.0.0.1:"+port+")/mysql")
	if _, err := db.Exec("CREATE DATABASE crm"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	dsn := "root@tcp(127.0.0.1:" + port + ")/crm"
	crm, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, crm)
	conforms(t, "mysql", dsn, "?")
}

func TestDSN(t *testing.T) {
	for driver, dsn := range map[string]string{"postgres": "postgres://consentd:s3cret@host:port/x", "mysql": "consentd:s3cret@host/x"} {
		c := config("email string email")
		c.SQL = &SQL{Driver: driver, DSN: dsn, Query: "SELECT 1"}
		_, diags := Open([]Config{c}, nil, hclog.NewNullLogger())
		if len(diags) != 1 || strings.Contains(diags[0].Detail, "s3cret") || !strings.Contains(diags[0].Detail, "write it like") {
			t.Errorf("%s: %v", driver, diags)
		}
	}
	if text := fmt.Sprintf("%v %+v", Config{SQL: &SQL{DSN: "s3cret"}}, Config{SQL: &SQL{DSN: "s3cret"}}); strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}
