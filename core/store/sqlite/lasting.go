package sqlite

import (
	"context"
	"database/sql"
)

// lasting is the connection of the writer. Whatever context it is given, a statement runs to its end: if one broke
// off with a caller who gave up, it would break off the transaction of the whole group, and poison the store.
type lasting struct{ conn *sql.Conn }

func (l lasting) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	return l.conn.QueryContext(context.Background(), query, args...)
}

func (l lasting) QueryRowContext(_ context.Context, query string, args ...any) *sql.Row {
	return l.conn.QueryRowContext(context.Background(), query, args...)
}

func (l lasting) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	return l.conn.ExecContext(context.Background(), query, args...)
}

// lastingStmt is a statement prepared on it.
type lastingStmt struct{ stmt *sql.Stmt }

func (s lastingStmt) Exec(args ...any) (sql.Result, error) { return s.stmt.Exec(args...) }

func (s lastingStmt) Query(args ...any) (*sql.Rows, error) { return s.stmt.Query(args...) }

func (s lastingStmt) QueryRow(args ...any) *sql.Row { return s.stmt.QueryRow(args...) }
