-- +goose Up

-- When a grant was last sent that counts for the target's fuse; 0: never.
ALTER TABLE delivery ADD COLUMN granted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX delivery_granted ON delivery (target, granted) WHERE granted > 0;

-- Fuses that ever blew: since when, 0 if released, and when they were released.
CREATE TABLE fuse (
	target   TEXT PRIMARY KEY,
	blown    INTEGER NOT NULL,
	released INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE fuse;
DROP INDEX delivery_granted;
ALTER TABLE delivery DROP COLUMN granted;
