package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/ledger"
	"github.com/consentd/consentd/core/store/internal/seal"
	"github.com/consentd/consentd/core/store/internal/states"
)

// What a new version of citizens writes: gathered for the whole group, and written with one statement a table.

// citizenColumns are what scanCitizen reads, of citizen c.
const citizenColumns = `c.id, c.source, c.citizen_id, c.version, c.sent_at, c.proven, c.evidence, c.received, c.next, c.digest, c.grants, c.held`

// citizenRow is a citizen as stored, without the body; digest, grants and held may be sealed.
type citizenRow struct {
	id, version int64
	seal.Who
	c                    consent.Citizen
	digest, grants, held []byte
}

// scanCitizen reads citizenColumns, and then what else the query has.
func scanCitizen(row interface{ Scan(...any) error }, more ...any) (r citizenRow, err error) {
	var citizenID []byte
	var sentAt, proven, evidence, received int64
	var next *int64
	err = row.Scan(append([]any{&r.id, &r.Source, &citizenID, &r.version, &sentAt, &proven, &evidence, &received, &next, &r.digest, &r.grants, &r.held}, more...)...)
	r.CitizenID = string(citizenID)
	r.c.SentAt, r.c.Proven, r.c.Evidence = instant(sentAt), instant(proven), instant(evidence)
	r.c.Received, r.c.Next = instant(received), orZero(next)
	return r, err
}

type citizenWrite struct {
	id, version int64
	of          seal.Who
	c           consent.Citizen
}

// want is a delivery that becomes pending.
type want struct {
	citizen, version, received, due int64
	route                           store.Route
	withdrawal                      bool
}

// standings are those of deliveries before, with their targets, by citizen and rule. Their rows are locked.
type standings map[int64]map[string]placed

type placed struct {
	ledger.Standing
	target string
}

// queue reads and locks those that a join with delivery d chooses.
func (s standings) queue(b *pgx.Batch, join string, args ...any) {
	b.Queue(`SELECT d.citizen, d.rule, d.target, d.status, d.withdrawal FROM delivery d `+join+` ORDER BY d.id FOR UPDATE OF d`, args...).Query(rows(func(r pgx.Rows) error {
		var citizen int64
		var rule string
		var p placed
		err := r.Scan(&citizen, &rule, &p.target, &p.Status, &p.Withdrawal)
		if s[citizen] == nil {
			s[citizen] = map[string]placed{}
		}
		s[citizen][rule] = p
		return err
	}))
}

// standings reads and locks those of citizens within the transaction.
func (t *tx) standings(citizens []int64) (standings, error) {
	s, b := standings{}, &pgx.Batch{}
	s.queue(b, `WHERE d.citizen = ANY($1)`, citizens)
	if err := t.conn.SendBatch(t.ctx, b).Close(); err != nil {
		return nil, dbError{err}
	}
	return s, nil
}

// newVersion makes a citizen's newest version and its deliveries, also those that are left of rules that are not in
// force. What was pending is replaced: it may have been attempted, so what the target holds is not known any more, and
// a withdrawal that it carried stays one until the target confirms something newer.
func (t *tx) newVersion(id, version int64, of seal.Who, a consent.Applied, before standings, routes []store.Route) {
	t.citizens = append(t.citizens, citizenWrite{id, version, of, a.Citizen})
	t.states[id] = states.State{Version: version, State: a.State}
	received := micros(a.Citizen.Received)
	routes = slices.Clip(routes) // they are everybody's
	for rule, was := range before[id] {
		if !slices.ContainsFunc(routes, func(r store.Route) bool { return r.Rule == rule }) {
			routes = append(routes, store.Route{Rule: rule, Target: was.target})
		}
	}
	for _, r := range routes {
		was, there := before[id][r.Rule]
		if there {
			t.ledger.Leave(was.target, was.Standing)
		}
		t.want(want{id, version, received, received, r, a.Withdrawal || was.Withdrawal})
	}
}

func (t *tx) want(w want) {
	t.enter(w.route.Target, w.withdrawal)
	t.wants = append(t.wants, w)
}

// enter puts a delivery that became pending into the ledger of its target.
func (t *tx) enter(target string, withdrawal bool) {
	t.ledger.Enter(target, withdrawal)
	t.changed[target] = true
}

func (t *tx) flushCitizens() {
	n := len(t.citizens)
	if n == 0 {
		return
	}
	numbers := [6][]int64{}
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	next := make([]*int64, n)
	sealed := [4][][]byte{}
	for i := range sealed {
		sealed[i] = make([][]byte, n)
	}
	for i, w := range t.citizens {
		for j, v := range []int64{w.id, w.version, micros(w.c.SentAt), micros(w.c.Proven), micros(w.c.Evidence), micros(w.c.Received)} {
			numbers[j][i] = v
		}
		next[i] = nullable(w.c.Next)
		sealed[0][i] = t.sealer.Seal(w.of.In(seal.Digest), w.c.Digest[:])
		sealed[1][i] = t.sealer.Seal(w.of.In(seal.Grants), []byte(w.c.Grants))
		sealed[2][i] = t.sealer.Seal(w.of.In(seal.Held), w.c.Held)
		sealed[3][i] = t.sealer.Seal(w.of.In(seal.Body), w.c.Body)
	}
	t.write.Queue(`UPDATE citizen c SET version = u.version, sent_at = u.sent_at, proven = u.proven, evidence = u.evidence, received = u.received,
			next = u.next, digest = u.digest, grants = u.grants, held = u.held, body = u.body
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
			$8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[])
			u(id, version, sent_at, proven, evidence, received, next, digest, grants, held, body)
		WHERE c.id = u.id AND c.version < u.version`,
		numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], next, sealed[0], sealed[1], sealed[2], sealed[3])
}

func (t *tx) flushWants() {
	n := len(t.wants)
	if n == 0 {
		return
	}
	citizens, versions, received, due := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	ruleNames, targets, withdrawals := make([]string, n), make([]string, n), make([]bool, n)
	for i, w := range t.wants {
		citizens[i], versions[i], received[i], due[i] = w.citizen, w.version, w.received, w.due
		ruleNames[i], targets[i], withdrawals[i] = w.route.Rule, w.route.Target, w.withdrawal
	}
	t.write.Queue(`INSERT INTO delivery AS d (citizen, rule, target, status, withdrawal, desired, next_attempt, since)
		SELECT citizen, rule, target, 0, withdrawal, desired, due, received
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[])
			u(citizen, rule, target, withdrawal, desired, received, due)
		ON CONFLICT (citizen, rule) DO UPDATE SET
			target = excluded.target, status = 0, withdrawal = excluded.withdrawal, desired = excluded.desired, next_attempt = excluded.next_attempt,
			since = CASE WHEN d.status IN (0, 2) THEN d.since ELSE excluded.since END,
			digest = CASE WHEN d.status <> 0 AND d.target = excluded.target THEN d.digest END,
			given = d.given AND d.target = excluded.target, delivered = CASE WHEN d.target = excluded.target THEN d.delivered ELSE 0 END,
			attempts = 0, crashes = 0, failing_since = 0, reason = '', error = ''`,
		citizens, ruleNames, targets, withdrawals, versions, received, due)
}
