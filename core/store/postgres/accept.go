package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/internal/seal"
)

// acceptance is an update on its way in, and what becomes of it.
type acceptance struct {
	update  consent.Update
	of      seal.Who
	subject []byte
	verdict consent.Verdict
	err     error // the update's own
}

// Accept applies the update to its citizen and makes one delivery for each route of its source pending.
func (s *Store) Accept(ctx context.Context, u consent.Update) (consent.Verdict, error) {
	a := &acceptance{update: u, of: seal.Who{Source: u.Source, CitizenID: string(u.State.CitizenID)}}
	a.subject = store.Subject(s.key, a.of.Source, a.of.CitizenID)
	if err := s.accepts.do(ctx, a); err != nil {
		return 0, err
	}
	return a.verdict, a.err
}

// acceptGroup serves a group. Updates of one citizen have a transaction each.
func (s *Store) acceptGroup(group []*request[*acceptance]) (failed error) {
	for len(group) > 0 {
		var now, later []*request[*acceptance]
		seen := map[seal.Who]bool{}
		for _, r := range group {
			if seen[r.ask.of] {
				later = append(later, r)
				continue
			}
			seen[r.ask.of] = true
			now = append(now, r)
		}
		// Locks are taken in one order by all.
		slices.SortFunc(now, func(a, b *request[*acceptance]) int {
			return cmp.Or(cmp.Compare(a.ask.of.Source, b.ask.of.Source), cmp.Compare(a.ask.of.CitizenID, b.ask.of.CitizenID))
		})
		err := s.acceptOnce(now)
		for _, r := range now {
			r.done <- err
		}
		failed = cmp.Or(failed, err)
		group = later
	}
	return failed
}

func (s *Store) acceptOnce(group []*request[*acceptance]) error {
	var found acceptReads
	return s.commit(context.Background(), func(b *pgx.Batch) { found.queue(s, b, group) }, func(t *tx) error {
		if err := found.readBodies(t, group); err != nil {
			return err
		}
		routes, err := s.inForce(t.ctx, t.conn, found.routing)
		if err != nil {
			return err
		}
		var unused []int64
		for _, r := range group {
			a := r.ask
			a.err = t.accept(a, &found, routes[a.of.Source])
			if a.err != nil && !isOwn(a.err) {
				return a.err
			}
			if row := found.citizens[a.of]; row.version == 0 && (a.err != nil || a.verdict != consent.Accepted) {
				unused = append(unused, row.id)
			}
		}
		if len(unused) > 0 {
			t.write.Queue(`DELETE FROM citizen WHERE id = ANY($1)`, unused)
		}
		return nil
	})
}

// acceptReads is what accepting a group takes, read in the message that begins the transaction.
type acceptReads struct {
	routing    int64
	citizens   map[seal.Who]citizenRow
	bodies     map[int64][]byte
	standings  standings
	tombstones map[string]tombstone
	versions   []int64
}

type tombstone struct{ citizen, erased int64 }

func (f *acceptReads) queue(s *Store, b *pgx.Batch, group []*request[*acceptance]) {
	*f = acceptReads{citizens: map[seal.Who]citizenRow{}, bodies: map[int64][]byte{}, standings: standings{}, tombstones: map[string]tombstone{}}
	sources, ids, subjects := make([]string, len(group)), make([][]byte, len(group)), make([][]byte, len(group))
	for i, r := range group {
		sources[i], ids[i], subjects[i] = r.ask.of.Source, []byte(r.ask.of.CitizenID), r.ask.subject
	}
	queueRouting(b, &f.routing)
	queueCitizens(b, sources, ids, func(r citizenRow) { f.citizens[r.Who] = r })
	f.standings.queue(b, `JOIN citizen c ON c.id = d.citizen JOIN unnest($1::text[], $2::bytea[]) u(source, citizen_id) USING (source, citizen_id)`, sources, ids)
	b.Queue(`SELECT subject, citizen, erased FROM tombstone WHERE subject = ANY($1)`, subjects).Query(rows(func(r pgx.Rows) error {
		var subject []byte
		var t tombstone
		err := r.Scan(&subject, &t.citizen, &t.erased)
		f.tombstones[string(subject)] = t
		return err
	}))
	// After the rows are locked: who comes later gets a later version.
	b.Queue(`SELECT nextval('version') FROM generate_series(1, $1::int)`, len(group)).Query(rows(func(r pgx.Rows) error {
		var v int64
		err := r.Scan(&v)
		f.versions = append(f.versions, v)
		return err
	}))
}

// queueCitizens makes rows for those who have none, locks all and reads them. Of two transactions that make the same
// row the second waits here for the first.
func queueCitizens(b *pgx.Batch, sources []string, ids [][]byte, visit func(citizenRow)) {
	b.Queue(`INSERT INTO citizen (source, citizen_id) SELECT * FROM unnest($1::text[], $2::bytea[]) ON CONFLICT DO NOTHING`, sources, ids)
	b.Queue(`SELECT `+citizenColumns+` FROM citizen c JOIN unnest($1::text[], $2::bytea[]) u(source, citizen_id) USING (source, citizen_id)
		ORDER BY c.source, c.citizen_id FOR UPDATE OF c`, sources, ids).Query(rows(func(r pgx.Rows) error {
		row, err := scanCitizen(r)
		visit(row)
		return err
	}))
}

// errVanished is for a row that was there, and was deleted by whoever held its lock: made anew, it is locked.
var errVanished = dbError{errors.New("a citizen's row vanished before it was locked")}

// readBodies reads the states that updates are to be merged into.
func (f *acceptReads) readBodies(t *tx, group []*request[*acceptance]) error {
	var needed []int64
	for _, r := range group {
		row := f.citizens[r.ask.of]
		if row.version > 0 && r.ask.update.ReadsBody(row.c) {
			needed = append(needed, row.id)
		}
	}
	if len(needed) == 0 {
		return nil
	}
	_, err := gather(t, func(r pgx.CollectableRow) (struct{}, error) {
		var id int64
		var body []byte
		err := r.Scan(&id, &body)
		f.bodies[id] = body
		return struct{}{}, err
	}, `SELECT id, body FROM citizen WHERE id = ANY($1)`, needed)
	return err
}

func (t *tx) accept(a *acceptance, f *acceptReads, routes []store.Route) error {
	row, there := f.citizens[a.of]
	if !there {
		return errVanished
	}
	var known *consent.Citizen
	if row.version > 0 {
		c, err := openCitizen(t.sealer, row)
		if body, read := f.bodies[row.id]; err == nil && read {
			c.Body, err = t.sealer.Open(a.of.In(seal.Body), body)
		}
		if err != nil {
			return err
		}
		known = &c
	}
	grave, erased := f.tombstones[string(a.subject)]
	if known == nil && erased && !a.update.Outlives(instant(grave.erased)) {
		t.ledger.Supersede(routes)
		a.verdict = consent.Superseded
		return nil
	}
	applied, err := consent.Apply(known, a.update)
	if err != nil {
		return fmt.Errorf("apply update: %w", err)
	}
	a.verdict = applied.Verdict
	if applied.Verdict != consent.Accepted {
		t.ledger.Supersede(routes)
		return nil
	}
	if known == nil && erased {
		t.write.Queue(`UPDATE citizen SET id = $2 WHERE id = $1`, row.id, grave.citizen)
		row.id = grave.citizen
	}
	version := f.versions[0]
	f.versions = f.versions[1:]
	t.newVersion(row.id, version, a.of, applied, f.standings, routes)
	return nil
}

// openCitizen opens what is sealed of a citizen.
func openCitizen(s seal.Sealer, r citizenRow) (consent.Citizen, error) {
	c := r.c
	digest, err := s.Open(r.In(seal.Digest), r.digest)
	if err != nil {
		return c, err
	}
	grants, err := s.Open(r.In(seal.Grants), r.grants)
	if err != nil {
		return c, err
	}
	copy(c.Digest[:], digest)
	c.Grants = string(bytes.Clone(grants))
	c.Held, err = s.Open(r.In(seal.Held), r.held)
	return c, err
}
