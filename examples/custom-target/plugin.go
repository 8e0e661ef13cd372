package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	_ "modernc.org/sqlite" // database/sql finds the driver by its name

	"github.com/consentd/consentd/sdk"
)

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "maildb",
		Version: "1.0.0",
		Doc:     "Keeps the table `consent` of a SQLite database: who may get which mailing list.",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"path": {Type: "string", Required: true, Doc: "The database file. Its folder has to be there, and named in `plugin > write`."},
		}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"email": {Type: "string", Required: true, Doc: "Whose mail it is about."},
			"lists": {Type: "map(bool)", Doc: "Mailing lists by name, and whether the person allows them. A null forgets the answer."},
		}},
		// One transaction a call, and SQLite takes one at a time.
		Limits: sdk.Limits{MaxBatch: 500, MaxInFlight: 1},
		New:    newTarget,
	}
}

// schema is a contract with the mailer. allowed says whether the mail may go out; where there is no row, nobody
// was asked and it may not.
const schema = `CREATE TABLE IF NOT EXISTS consent (
	email   TEXT NOT NULL,
	list    TEXT NOT NULL,
	allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
	since   TEXT NOT NULL,
	PRIMARY KEY (email, list)
) WITHOUT ROWID`

type target struct {
	db  *sql.DB
	log hclog.Logger
}

func newTarget(ctx context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c struct{ Path string }
	if err := cfg.Decode(&c); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(c.Path)
	if err != nil || c.Path == "" {
		return nil, sdk.InvalidConfig("path", "must be the name of a file")
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, sdk.InvalidConfig("path", "its folder is not there")
	}
	// Full: an outcome is the promise that it is on disk. The mailer's own locks are waited for.
	options := url.Values{"_pragma": {"journal_mode(wal)", "synchronous(full)", "busy_timeout(5000)", "temp_store(memory)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String())
	if err != nil {
		return nil, sdk.InvalidConfig("path", "cannot be opened")
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		o := outcomeOf(err)
		return nil, errors.Join(sdk.InvalidConfig("path", "%s", o.Message), db.Close())
	}
	return &target{db, log}, nil
}

// Close comes after the last Deliver.
func (t *target) Close() error { return t.db.Close() }
