-- +goose Up

-- Times are microseconds since 1970 UTC; 0 stands for none where the column is NOT NULL.

CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest state of each citizen, once.
CREATE TABLE citizen (
	id         INTEGER PRIMARY KEY AUTOINCREMENT, -- not given to somebody else after an erasure
	source     TEXT NOT NULL,
	citizen_id TEXT NOT NULL,
	version    INTEGER NOT NULL, -- by arrival, over all citizens
	sent_at    INTEGER NOT NULL,
	proven     INTEGER NOT NULL,
	evidence   INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	next       INTEGER,          -- when a validity window begins or ends; NULL: never
	digest     BLOB NOT NULL,    -- this and what follows may be sealed; see seal.go
	grants     BLOB NOT NULL,
	held       BLOB,             -- the grants that are held back; NULL: none
	body       BLOB NOT NULL,
	UNIQUE (source, citizen_id)
) STRICT;

CREATE INDEX citizen_next ON citizen (next) WHERE next IS NOT NULL;
CREATE INDEX citizen_held ON citizen (id) WHERE held IS NOT NULL;

-- The standing of (rule, citizen). It is pending while delivered < desired.
CREATE TABLE delivery (
	id            INTEGER PRIMARY KEY AUTOINCREMENT, -- what is in flight may outlive its row
	citizen       INTEGER NOT NULL REFERENCES citizen (id),
	rule          TEXT NOT NULL,
	target        TEXT NOT NULL,
	status        INTEGER NOT NULL, -- store.Status
	withdrawal    INTEGER NOT NULL, -- 1: a withdrawal is not confirmed yet
	desired       INTEGER NOT NULL,
	delivered     INTEGER NOT NULL DEFAULT 0,
	given         INTEGER NOT NULL DEFAULT 0, -- 1: the target was ever given a record
	digest        BLOB,             -- of what the target holds; NULL: not known
	attempts      INTEGER NOT NULL DEFAULT 0,
	crashes       INTEGER NOT NULL DEFAULT 0,
	next_attempt  INTEGER,          -- NULL: none
	since         INTEGER NOT NULL,
	failing_since INTEGER NOT NULL DEFAULT 0,
	settled_at    INTEGER NOT NULL DEFAULT 0,
	outcome       TEXT NOT NULL DEFAULT '',
	reason        TEXT NOT NULL DEFAULT '',
	error         TEXT NOT NULL DEFAULT '',
	-- The order in which a target's deliveries are claimed: withdrawals, those that stopped, the others, dead letters.
	lane          INTEGER NOT NULL GENERATED ALWAYS AS (CASE WHEN status = 0 THEN 2 ELSE 3 END - 2 * withdrawal) VIRTUAL,
	UNIQUE (citizen, rule)
) STRICT;

CREATE INDEX delivery_due ON delivery (target, lane, next_attempt, citizen) WHERE next_attempt IS NOT NULL;
CREATE INDEX delivery_withdrawal ON delivery (target, since) WHERE withdrawal = 1;
CREATE INDEX delivery_dead ON delivery (id) WHERE status = 2;

-- How many updates and deliveries of a target went where, for law 12.
CREATE TABLE ledger (
	target TEXT NOT NULL,
	entry  TEXT NOT NULL,
	n      INTEGER NOT NULL,
	PRIMARY KEY (target, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipt (
	id         INTEGER PRIMARY KEY, -- 1, 2, 3, without gaps
	rule       TEXT NOT NULL,
	target     TEXT NOT NULL,
	version    INTEGER NOT NULL,
	sent_at    INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	confirmed  INTEGER NOT NULL,
	withdrawal INTEGER NOT NULL,
	outcome    TEXT NOT NULL,
	digest     BLOB,          -- NULL: erased
	plugin     TEXT NOT NULL,
	reference  TEXT,          -- NULL: erased
	transactions TEXT,        -- JSON array; NULL: erased
	config     TEXT NOT NULL,
	subject    BLOB NOT NULL, -- keyed hash of who it is of
	sealed     BLOB NOT NULL, -- keyed hash of digest and reference
	hash       BLOB NOT NULL  -- chains it to the one before
) STRICT;

CREATE INDEX receipt_subject ON receipt (subject);

-- Who was erased, and when. Nothing older than that is taken in again.
CREATE TABLE tombstone (
	subject BLOB PRIMARY KEY, -- as in receipts
	citizen INTEGER NOT NULL, -- the number they had, and get again should they come back
	erased  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a target was asked to erase and has not confirmed. The records name the person until then.
CREATE TABLE erasure (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	target       TEXT NOT NULL,
	citizen      INTEGER NOT NULL,
	subject      BLOB NOT NULL,
	rule         TEXT NOT NULL,
	records      BLOB NOT NULL, -- JSON array
	requested    INTEGER NOT NULL,
	attempts     INTEGER NOT NULL DEFAULT 0,
	next_attempt INTEGER NOT NULL,
	error        TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX erasure_due ON erasure (target, next_attempt);

CREATE TABLE quarantine (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	source   TEXT NOT NULL,
	received INTEGER NOT NULL,
	reason   TEXT NOT NULL,
	digest   BLOB NOT NULL, -- keyed hash of the body
	size     INTEGER NOT NULL,
	body     BLOB NOT NULL, -- may be sealed
	UNIQUE (source, digest)
) STRICT;

CREATE INDEX quarantine_received ON quarantine (received);

-- +goose Down
DROP TABLE quarantine;
DROP TABLE erasure;
DROP TABLE tombstone;
DROP TABLE receipt;
DROP TABLE ledger;
DROP TABLE delivery;
DROP TABLE citizen;
DROP TABLE meta;
