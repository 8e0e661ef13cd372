package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// leastVersion is the oldest PostgreSQL that is served, as server_version_num has it.
const leastVersion = 130000

// idleInTransaction ends a session whose replica stopped in the middle of a transaction, with locks that the others
// need. No transaction is open while anything but the store is waited for.
const idleInTransaction = "5s"

// connect makes the pool, after one connection has shown that the server is fit for it.
func connect(ctx context.Context, o Options) (*pgxpool.Pool, error) {
	conf, err := poolConfig(o)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, conf.ConnConfig)
	if err != nil {
		return nil, advise(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := prepare(ctx, conn); err != nil {
		return nil, err
	}
	durability, err := fit(ctx, conn)
	if err != nil {
		return nil, err
	}
	// The answer stays what it was, whatever the server's configuration becomes meanwhile.
	conf.ConnConfig.RuntimeParams["synchronous_commit"] = durability
	return pgxpool.NewWithConfig(ctx, conf)
}

// Check is whether a store could be opened, and changes nothing. Offline it looks at the DSN alone.
func Check(ctx context.Context, o Options, offline bool) error {
	conf, err := poolConfig(o)
	if err != nil || offline {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, conf.ConnConfig)
	if err != nil {
		return clean(advise(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err = prepare(ctx, conn); err == nil {
		_, err = fit(ctx, conn)
	}
	return clean(err)
}

// poolConfig connects to nothing. Its errors do not hold the DSN.
func poolConfig(o Options) (*pgxpool.Config, error) {
	conf, err := pgxpool.ParseConfig(o.DSN)
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, fmt.Errorf("its dsn names a file that cannot be read: %w", file)
	case err != nil && strings.Contains(err.Error(), "failed to configure TLS"):
		return nil, errors.New("sslmode, sslrootcert, sslcert or sslkey of its dsn cannot be used: the last three are PEM files, and the last two go together")
	case err != nil:
		return nil, errors.New(`its dsn cannot be read; write it like "postgres://user:password@host:5432/database?sslmode=verify-full"`)
	}
	conf.MaxConns, conf.MinConns = int32(o.MaxConnections), 2
	conf.MaxConnIdleTime = 5 * time.Minute
	if conf.ConnConfig.ConnectTimeout == 0 {
		conf.ConnConfig.ConnectTimeout = answerTime
	}
	for name, value := range map[string]string{
		"application_name": "consentd",
		// What the code relies on, and roles or databases may have set otherwise.
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		"idle_in_transaction_session_timeout": idleInTransaction,
		"lock_timeout":                        "10s",
		"statement_timeout":                   "0",
		// Statements are short and planned once, when tables may be small still; an index is right for each.
		"jit":            "off",
		"enable_seqscan": "off",
	} {
		if _, set := conf.ConnConfig.RuntimeParams[name]; !set || name != "application_name" {
			conf.ConnConfig.RuntimeParams[name] = value
		}
	}
	conf.AfterConnect = prepare
	return conf, nil
}

// prepare makes a new connection ready. Names stand for what is in the store's own schema, which is the first of the
// search_path: a table that is not made yet would be found in the next one, if another store is there. After a
// fail-over the hosts' names may lead to a server that only reads.
func prepare(ctx context.Context, c *pgx.Conn) error {
	var standby bool
	var path *string
	err := c.QueryRow(ctx, `SELECT pg_is_in_recovery(), set_config('search_path', quote_ident(current_schema()), false)`).Scan(&standby, &path)
	if err == nil && standby {
		err = errStandby
	}
	return err
}

var errStandby = errors.New("the server is a standby, which only reads; name the primary, or list every host and add target_session_attrs=read-write to the dsn")

// fit is whether what this server says is committed survives a crash, and the role may do what it has to. It answers
// with the synchronous_commit in force.
func fit(ctx context.Context, conn *pgx.Conn) (durability string, err error) {
	var version, encoding, fsync, pages, schema string
	var may bool
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('synchronous_commit'), current_setting('server_encoding'),
		current_setting('fsync'), current_setting('full_page_writes'), coalesce(current_schema(), ''),
		coalesce(has_schema_privilege(current_schema(), 'CREATE') OR to_regclass('consentd_schema') IS NOT NULL, false)`).
		Scan(&version, &durability, &encoding, &fsync, &pages, &schema, &may)
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(version)
	if err != nil {
		return "", fmt.Errorf("read the server's version: %w", err)
	}
	switch {
	case number < leastVersion:
		return "", fmt.Errorf("the server is PostgreSQL %d and has to be %d or newer; upgrade it", number/10000, leastVersion/10000)
	case durability == "off":
		return "", errors.New("synchronous_commit is off, so a crash of the server would lose what was acknowledged; " +
			"run ALTER ROLE ... SET synchronous_commit = on for the role of the dsn")
	case fsync != "on", pages != "on":
		return "", errors.New("fsync or full_page_writes is off, so a power cut would damage the database; turn both on in postgresql.conf")
	case encoding != "UTF8":
		return "", fmt.Errorf("the database's encoding is %s; make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0", encoding)
	case schema == "":
		return "", errors.New("the role's search_path names no schema that is there; make one with CREATE SCHEMA AUTHORIZATION, named like the role")
	case !may:
		return "", fmt.Errorf("the role may not make tables in the schema %s; run GRANT CREATE ON SCHEMA, or make one with CREATE SCHEMA AUTHORIZATION, named like the role", schema)
	}
	return durability, nil
}

// advise says what to do about a server that cannot be reached, where the error itself does not.
func advise(err error) error {
	var pg *pgconn.PgError
	var advice string
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		advice = "nobody who is trusted here signed the server's certificate; set sslrootcert in the dsn to the file of the authority that signed it"
	case errors.As(err, new(x509.HostnameError)):
		advice = "the server's certificate is for another host; name the host in the dsn as the certificate does"
	case !errors.As(err, &pg):
		return err
	case pg.Code == "53300":
		advice = `the server has no connection left; raise its max_connections, or lower that of store "postgres" at every replica`
	case pg.Code == "28000":
		advice = "the server does not let this role in so; if its pg_hba.conf asks for TLS set sslmode=verify-full in the dsn, if for a certificate set sslcert and sslkey in the dsn"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", advice, clean(err))
}

// dbError is an error of the database or of the way to it.
type dbError struct{ error }

func (e dbError) Unwrap() error { return e.error }

// said is what a server said, without what may hold a value.
type said struct{ code, message string }

func (e said) Error() string {
	if e.message == "" {
		return "PostgreSQL answers with SQLSTATE " + e.code
	}
	return fmt.Sprintf("PostgreSQL answers: %s (SQLSTATE %s)", e.message, e.code)
}

// speaksOfValues are the classes of errors whose messages may quote a value: of data, of constraints, of functions.
var speaksOfValues = []string{"22", "23", "P0", "XX"}

// clean takes out of an error what a server may have quoted.
func clean(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	s := said{code: pg.Code}
	if len(pg.Code) == 5 && !slices.Contains(speaksOfValues, pg.Code[:2]) {
		s.message = pg.Message
	}
	return s
}

// again is whether a transaction is to be tried again at once, since it lost against another.
func again(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains([]string{"40001", "40P01", "55P03"}, pg.Code)
}

// unprepared is whether a statement's cached plan is not valid any more, after a migration by a newer replica.
func unprepared(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "0A000" && strings.Contains(pg.Message, "cached plan") || pg.Code == "26000")
}
