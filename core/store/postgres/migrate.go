package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schemaTable is where goose keeps the version.
const schemaTable = "consentd_schema"

// migrate brings the schema up to date. Replicas that start at the same time wait for each other. A schema that is newer
// is worked with as long as it allows that: the oldest version that a consentd must know stands in meta, and a
// migration raises it only when what is older could not go on, so that replicas can be upgraded, and set back, one
// after the other.
func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := schema(ctx, db, pool)
	if err != nil {
		return err
	}
	current, err := schemaVersion(ctx, pool)
	if err != nil {
		return err
	}
	if newest := newestVersion(provider); current > newest {
		return compatible(ctx, pool, current, newest)
	}
	if current == 0 {
		if err := unused(ctx, pool); err != nil {
			return err
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

func schema(ctx context.Context, db *sql.DB, pool *pgxpool.Pool) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	var oid int64
	if _, err := one(ctx, pool, []any{&oid}, `SELECT oid::bigint FROM pg_namespace WHERE nspname = current_schema()`); err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(0x636e7364<<32|oid), lock.WithLockTimeout(1, 120))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker), goose.WithTableName(schemaTable))
}

func newestVersion(p *goose.Provider) int64 {
	all := p.ListSources()
	return all[len(all)-1].Version
}

// schemaVersion is 0 where there is none.
func schemaVersion(ctx context.Context, db querier) (version int64, err error) {
	var there bool
	if _, err := one(ctx, db, []any{&there}, `SELECT to_regclass($1) IS NOT NULL`, schemaTable); err != nil || !there {
		return 0, err
	}
	_, err = one(ctx, db, []any{&version}, `SELECT coalesce(max(version_id), 0) FROM `+schemaTable+` WHERE is_applied`)
	return version, err
}

// compatible is whether a consentd that knows a schema up to newest may work with one that is newer.
func compatible(ctx context.Context, db querier, current, newest int64) error {
	var value []byte
	if _, err := one(ctx, db, []any{&value}, `SELECT value FROM meta WHERE name = 'compatible'`); err != nil {
		return err
	}
	if least, err := strconv.ParseInt(string(value), 10, 64); err != nil || least > newest {
		return fmt.Errorf("its schema is version %d and this consentd knows up to %d; run the newer consentd that wrote it", current, newest)
	}
	return nil
}

// unused is whether nothing else lives in the schema.
func unused(ctx context.Context, db querier) error {
	tables, err := collect(ctx, db, pgx.RowTo[string], `SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relname <> $1
		AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) LIMIT 1`, schemaTable)
	if err != nil {
		return err
	}
	if len(tables) > 0 {
		return errors.New("the schema has tables of something else; give consentd a database or a schema of its own")
	}
	return nil
}

// importing is whether another store is being taken over.
func importing(ctx context.Context, db querier) error {
	found, err := one(ctx, db, []any{new(int)}, `SELECT 1 FROM meta WHERE name = $1`, metaImport)
	if err == nil && found {
		err = errImporting
	}
	return err
}
