package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/consentd/consentd/core/store"

	"github.com/consentd/consentd/core/store/internal/seal"
)

// openReader opens a store to read, also while a daemon has it open, and changes nothing in it. SQLite may make the
// files of its log anew beside it.
func openReader(path string, keys [][]byte) (*Store, error) {
	sealer, err := seal.New(keys)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	if err := checkHeader(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &Store{db: db, path: path, seal: sealer}, nil
}

// Verify reads a whole store and looks for anything that is not as it should be. The error is only for a file that is
// not there or may not be read.
func Verify(ctx context.Context, path string, keys ...[]byte) ([]store.Check, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("verify store: %w", err)
	}
	f.Close()
	s, err := openReader(path, keys)
	if err != nil {
		return []store.Check{{Name: "file", Problem: err.Error()}}, ctx.Err()
	}
	defer s.db.Close()
	var all []store.Check
	for _, c := range []struct {
		name string
		run  func(context.Context) (found string, err error)
	}{
		{"file", s.verifyFile},
		{"references", s.verifyReferences},
		{"schema", s.verifySchema},
		{"keys", s.verifyKeys},
		{"receipts", func(ctx context.Context) (string, error) { return store.CheckReceipts(ctx, s) }},
		{"ledger", func(ctx context.Context) (string, error) { return store.CheckLedger(ctx, s) }},
		{"values", s.verifyValues},
	} {
		found, err := c.run(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		check := store.Check{Name: c.name, Found: found}
		if err != nil {
			check.Problem = err.Error()
		}
		all = append(all, check)
	}
	return all, nil
}

func (s *Store) verifyFile(ctx context.Context) (string, error) {
	said, err := s.lines(ctx, `PRAGMA integrity_check(5)`)
	if err == nil && !slices.Equal(said, []string{"ok"}) {
		err = fmt.Errorf("it is damaged: %s", strings.Join(said, "; "))
	}
	pages, free, size, sizeErr := pageCounts(ctx, s.db)
	return fmt.Sprintf("%d bytes, %d of them free", pages*size, free*size), errors.Join(err, sizeErr)
}

func (s *Store) verifyReferences(ctx context.Context) (string, error) {
	tables, err := s.lines(ctx, `SELECT DISTINCT "table" FROM pragma_foreign_key_check`)
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("rows refer to what is not there, in %s", strings.Join(tables, ", "))
	}
	return "", err
}

// lines reads the first column of a query.
func (s *Store) lines(ctx context.Context, query string) (all []string, err error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		all = append(all, line)
	}
	return all, rows.Err()
}

func (s *Store) verifySchema(ctx context.Context) (string, error) {
	provider, err := schema(s.db)
	if err != nil {
		return "", err
	}
	current, err := provider.GetDBVersion(ctx)
	if err != nil {
		return "", fmt.Errorf("read schema version: %w", err)
	}
	newest := newestVersion(provider)
	switch found := fmt.Sprintf("version %d", current); {
	case current > newest:
		return found, tooNew(current, newest)
	case current < newest:
		return found + fmt.Sprintf(", which the next start brings to %d", newest), nil
	default:
		return found, nil
	}
}

func (s *Store) verifyKeys(ctx context.Context) (string, error) {
	rows, err := keyRows(ctx, s.db)
	if err != nil {
		return "", err
	}
	found, err := s.seal.InUse(rows)
	if err != nil {
		return "", err
	}
	var stored []byte
	if err := s.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'hash_key'`).Scan(&stored); err != nil {
		return "", fmt.Errorf("read the key of hashes: %w", err)
	}
	s.key, err = s.seal.Open(seal.HashKeyPlace, stored)
	return found, err
}

// verifyValues opens and decodes every value that may be sealed.
func (s *Store) verifyValues(ctx context.Context) (string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, `+citizenColumns+`, source, citizen_id, body FROM citizen`)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var v store.CheckedValues
	for rows.Next() {
		var of seal.Who
		var body []byte
		r, err := scanCitizen(rows, &of.Source, &of.CitizenID, &body)
		if err != nil {
			return "", err
		}
		r.Who = of
		v.Citizens++
		v.Add(s.verifyCitizen(r, body))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return "", err
	}
	bodies, err := s.db.QueryContext(ctx, `SELECT source, digest, size, body FROM quarantine`)
	if err != nil {
		return "", err
	}
	defer bodies.Close()
	for bodies.Next() {
		var source string
		var size int
		var digest, stored []byte
		if err := bodies.Scan(&source, &digest, &size, &stored); err != nil {
			return "", err
		}
		v.Quarantined++
		body, err := s.seal.Open(seal.Quarantined(source, digest), stored)
		if err == nil && len(body) != size {
			err = fmt.Errorf("a stored %s has another length", seal.Quarantine)
		}
		v.Add(err)
	}
	if err := errors.Join(bodies.Err(), bodies.Close()); err != nil {
		return "", err
	}
	requests, err := s.db.QueryContext(ctx, `SELECT subject, records FROM erasure`)
	if err != nil {
		return "", err
	}
	defer requests.Close()
	for requests.Next() {
		var subject, stored []byte
		if err := requests.Scan(&subject, &stored); err != nil {
			return "", err
		}
		_, err := s.seal.Open(seal.Erased(subject), stored)
		v.Add(err)
	}
	found, err := v.Found()
	return found, errors.Join(err, requests.Err())
}

func (s *Store) verifyCitizen(r citizenRow, stored []byte) error {
	c, err := openCitizen(s.seal, r)
	if err == nil {
		c.Body, err = s.seal.Open(r.In(seal.Body), stored)
	}
	if err != nil {
		return err
	}
	return store.CheckCitizen(c)
}

// Backup copies a store to a file that is not there yet, also while a daemon has it open. What was committed when it
// began is in it. It is verified before it gets its name.
func Backup(ctx context.Context, path, to string, keys ...[]byte) (checks []store.Check, err error) {
	s, err := openReader(path, keys)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	defer s.db.Close()
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already; name a file that is not, or remove that one", to)
		}
		return nil, err
	}
	unborn := to + ".partial"
	f, err := os.OpenFile(unborn, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there: another backup to this name is under way, or one broke off; remove it if none is", unborn)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(unborn))
		}
	}()
	if _, err := s.db.ExecContext(ctx, `VACUUM INTO ?`, unborn); err != nil {
		return nil, fmt.Errorf("copy store: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("bring the backup to disk: %w", err)
	}
	if checks, err = Verify(ctx, unborn, keys...); err != nil {
		return nil, err
	}
	for _, c := range checks {
		if c.Problem != "" {
			return checks, fmt.Errorf("the backup was removed, since it does not verify: %s: %s", c.Name, c.Problem)
		}
	}
	if err := os.Rename(unborn, to); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return nil, fmt.Errorf("bring the backup's name to disk: %w", err)
	}
	return checks, nil
}
