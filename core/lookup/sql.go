package lookup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/zclconf/go-cty/cty"
	"modernc.org/sqlite"
)

// SQL asks a database with one query.
type SQL struct {
	Driver string // postgres, mysql, sqlite
	// DSN is as the driver has it; for sqlite the path of the file.
	DSN   string
	Query string
	Args  []Expr
}

// Drivers are the names of SQL.Driver.
var Drivers = []string{"postgres", "mysql", "sqlite"}

// idleTime is how long a connection is kept that nobody uses.
const idleTime = 5 * time.Minute

type sqlBackend struct {
	*SQL
	fields []Field
	db     *sql.DB
}

// openSQL connects to nothing. Its errors do not hold the DSN.
func openSQL(c Config) (backend, error) {
	var db *sql.DB
	switch c.SQL.Driver {
	case "postgres":
		conf, err := pgx.ParseConfig(c.SQL.DSN)
		if err != nil {
			return nil, errors.New(`its dsn cannot be read; write it like "postgres://user:password@host:5432/database?sslmode=verify-full"`)
		}
		db = stdlib.OpenDB(*conf)
	case "mysql":
		conf, err := mysql.ParseDSN(c.SQL.DSN)
		if err != nil {
			return nil, errors.New(`its dsn cannot be read; write it like "user:password@tcp(host:3306)/database?tls=true"`)
		}
		conf.Logger = &mysql.NopLogger{} // it would write to standard error
		conf.ParseTime = true
		connector, err := mysql.NewConnector(conf)
		if err != nil {
			return nil, errors.New("its dsn cannot be used; look at the driver's parameters")
		}
		db = sql.OpenDB(connector)
	case "sqlite":
		var err error
		db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: c.SQL.DSN}).EscapedPath()+"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(2000)")
		if err != nil {
			return nil, errors.New("its dsn cannot be used; write the path of the file")
		}
	}
	db.SetMaxOpenConns(c.MaxInFlight)
	db.SetMaxIdleConns(c.MaxInFlight)
	db.SetConnMaxIdleTime(idleTime)
	return &sqlBackend{c.SQL, c.Fields, db}, nil
}

func (b *sqlBackend) close() { b.db.Close() }

func (b *sqlBackend) check(ctx context.Context) error {
	st, err := b.db.PrepareContext(ctx, b.Query)
	if err != nil {
		return sqlError(err)
	}
	return st.Close()
}

func (b *sqlBackend) find(ctx context.Context, p Person) (map[string]cty.Value, error) {
	args := make([]any, len(b.Args))
	for i, a := range b.Args {
		v, err := a.value(p)
		if err != nil {
			return nil, err
		}
		switch v.Type() {
		case cty.Bool:
			args[i] = v.True()
		case cty.Number:
			if n, accuracy := v.AsBigFloat().Int64(); accuracy == 0 {
				args[i] = n
				continue
			}
			args[i], _ = v.AsBigFloat().Float64()
		default:
			args[i] = v.AsString()
		}
	}
	rows, err := b.db.QueryContext(ctx, b.Query, args...)
	if err != nil {
		return nil, sqlError(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, sqlError(err)
	}
	var values map[string]cty.Value
	for rows.Next() {
		row := make([]any, len(columns))
		to := make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, sqlError(err)
		}
		one, err := b.row(columns, row)
		if err != nil {
			return nil, err
		}
		if values != nil && !same(values, one) {
			return nil, errAmbiguous
		}
		values = one
	}
	if err := rows.Err(); err != nil {
		return nil, sqlError(err)
	}
	if values == nil {
		return nil, ErrNobody
	}
	return values, nil
}

func (b *sqlBackend) row(columns []string, row []any) (map[string]cty.Value, error) {
	values := map[string]cty.Value{}
	for _, f := range b.fields {
		i := slices.Index(columns, f.From)
		if i < 0 {
			return nil, &outage{text: fmt.Sprintf("the query has no column %s, which is the field %s", f.From, f.Name)}
		}
		v, err := convertTo(f.Type, row[i])
		if err != nil {
			return nil, fmt.Errorf("the column %s is no %s", f.From, f.Type.FriendlyName())
		}
		if v.RawEquals(cty.StringVal("")) {
			v = cty.NullVal(f.Type)
		}
		values[f.Name] = v
	}
	return values, nil
}

func same(a, b map[string]cty.Value) bool {
	for name, v := range a {
		if !v.RawEquals(b[name]) {
			return false
		}
	}
	return true
}

// sqlError keeps of a driver's error what cannot hold a value: its code, or that there is no connection.
func sqlError(err error) error {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &pg):
		return fmt.Errorf("the database answers with SQLSTATE %s", pg.Code)
	case errors.As(err, &my):
		return fmt.Errorf("the database answers with error %d", my.Number)
	case errors.As(err, &lite):
		return fmt.Errorf("the database answers with SQLite error %d", lite.Code())
	}
	return errors.New("the database cannot be reached, or ended the connection")
}
