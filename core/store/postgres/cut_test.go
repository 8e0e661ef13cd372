package postgres

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
)

var seed = flag.Uint64("seed", 0, "of everything random; 0 takes one from the clock")

// openOver opens a store with a lease so long that what is mended within a test is not mended by its beat.
func openOver(t *testing.T, dsn string) *Store {
	t.Helper()
	s, err := Open(ctx, Options{DSN: dsn, MaxConnections: 8, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stop.Err() == nil {
			s.Close()
		}
	})
	route(t, s, toMail...)
	return s
}

// comes waits until the delivery is handed out.
func comes(t *testing.T, s *Store) store.Claimed {
	t.Helper()
	var got []store.Claimed
	eventually(t, "what nobody holds is handed out", func() (ok bool) {
		var err error
		if got, err = s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes); err != nil {
			t.Fatal(err)
		}
		return len(got) > 0
	})
	if len(got) > 1 {
		t.Fatalf("%d are handed out", len(got))
	}
	return got[0]
}

// TestCutAtCommit: when the connection breaks at a commit the caller hears that the store is unavailable, whatever
// the server did, and to ask again is right. Nothing is lost and nothing is held for ever.
func TestCutAtCommit(t *testing.T) {
	w, dsn, direct := newWire(t, server.Cluster(t))
	s := openOver(t, dsn)
	unavailable := func(what string, at cut, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrUnavailable) || w.count(at) == 0 {
			t.Errorf("%s, cut at %d (%d times): %v", what, at, w.count(at), err)
		}
		w.heal()
	}
	minute, receipts := 0, 0
	for at, again := range map[cut]consent.Verdict{inFirst: consent.Accepted, beforeSecond: consent.Accepted, beforeAnswer: consent.Duplicate} {
		minute++
		u := update("ada", []string{"GRANTED", "DENIED"}[minute%2], minute)
		w.once(at, "nextval('version')")
		_, err := s.Accept(ctx, u)
		unavailable("accept", at, err)
		accept(t, s, u, again)
		accept(t, s, u, consent.Duplicate)

		w.once(at, "INSERT INTO claim")
		_, err = s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
		unavailable("claim", at, err)
		c := comes(t, s)

		w.once(at, "DELETE FROM claim")
		if at == inFirst {
			w.once(at, "begin") // that is all of a release's first message
		}
		s.Release([]store.Claimed{c})
		eventually(t, "a release is cut", func() bool { return w.count(at) > 2 })
		w.heal()
		c = comes(t, s)

		settle(t, s, c)

		minute++
		accept(t, s, update("ada", []string{"GRANTED", "DENIED"}[minute%2], minute), consent.Accepted)
		if c = comes(t, s); c.Digest == nil {
			t.Error("what was confirmed last is not known")
		}
		w.once(at, "DELETE FROM claim")
		proof := &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Digest: []byte("d"), Reference: word}
		done := store.Settlement{Claim: c, At: time.Now(), Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true, Receipt: proof}
		unavailable("settle", at, s.Settle(ctx, []store.Settlement{done}))
		if at != beforeAnswer { // it was not carried out, and the target may hold it
			if c = comes(t, s); c.Digest != nil {
				t.Errorf("cut at %d: the target is trusted to hold what was there before an attempt nobody knows of", at)
			}
			settle(t, s, c)
		}
		receipts += 2
		settle(t, s, done.Claim) // late, and dropped
		if d, err := s.Deliveries(ctx, "s", "ada"); err != nil || len(d) != 1 || d[0].Status != store.Settled || d[0].Delivered != d[0].Desired {
			t.Errorf("cut at %d: %+v, %v", at, d, err)
		}
		if all, err := s.ListReceipts(ctx, 0, 10); err != nil || len(all) != receipts {
			t.Errorf("cut at %d: %d receipts, %v; want %d", at, len(all), err, receipts)
		}

		accept(t, s, update("eve", "GRANTED", minute), consent.Accepted)
		settle(t, s, comes(t, s))
		w.once(at, "FOR UPDATE OF c")
		erase := func() error {
			_, err := s.Erase(ctx, "s", "eve", t0.Add(time.Duration(minute)*time.Minute), func(consent.State) ([]store.ErasureRequest, error) {
				return []store.ErasureRequest{{Rule: "newsletter", Target: "mail"}}, nil
			})
			return err
		}
		unavailable("erase", at, erase())
		if err := erase(); err != nil {
			t.Fatal(err)
		}
		w.once(at, "INSERT INTO claim")
		_, err = s.ClaimErasure(ctx, "mail", time.Now())
		unavailable("claim an erasure", at, err)
		request := erasureComes(t, s)
		w.once(at, "receipt_end")
		confirmed := store.ErasureSettlement{Erasure: request, Receipt: &store.Receipt{Rule: "newsletter", Target: "mail"}}
		unavailable("settle an erasure", at, s.SettleErasure(ctx, confirmed))
		if at != beforeAnswer {
			confirmed.Erasure = erasureComes(t, s)
			if err := s.SettleErasure(ctx, confirmed); err != nil {
				t.Fatal(err)
			}
		}
		receipts += 2
		if open, err := s.Erasures(ctx); err != nil || len(open) != 0 {
			t.Errorf("cut at %d: open erasures %v, %v", at, open, err)
		}
		if all, err := s.ListReceipts(ctx, 0, 100); err != nil || len(all) != receipts {
			t.Errorf("cut at %d: %d receipts, %v; want %d", at, len(all), err, receipts)
		}
	}
	s.Close()
	whole(t, direct)
}

func erasureComes(t *testing.T, s *Store) (e store.Erasure) {
	t.Helper()
	eventually(t, "an erasure that nobody holds is handed out", func() bool {
		var err error
		if e, err = s.ClaimErasure(ctx, "mail", time.Now()); err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	})
	return e
}

// TestCutAtRandom cuts two replicas' connections wherever a commit can lose them, while they take updates in and
// deliver. What was acknowledged is there, once, and what was not is as if it had never been asked or is there as well.
func TestCutAtRandom(t *testing.T) {
	const citizens, updates, cuts = 12, 20, 120
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	w, dsn, direct := newWire(t, server.Cluster(t))
	all := []*Store{openOver(t, dsn), openOver(t, dsn)}
	left := cuts
	w.set(func(statements []string) cut { // the wire asks one at a time
		at := []cut{beforeSecond, inSecond, beforeAnswer}[rnd.IntN(3)]
		if statements[len(statements)-1] != "commit" {
			at = inFirst
		}
		if left == 0 || at == inFirst && rnd.IntN(12) > 0 || rnd.IntN(3) > 0 {
			return nowhere
		}
		left--
		return at
	})
	var senders, workers sync.WaitGroup
	for n := range citizens {
		senders.Go(func() {
			for i := range updates {
				u, s := update(fmt.Sprint("c", n), []string{"GRANTED", "DENIED"}[i%2], i), all[i%2]
				for asked := 1; ; asked++ {
					v, err := s.Accept(ctx, u)
					if err == nil && (v == consent.Accepted || asked > 1 && v == consent.Duplicate) {
						break
					}
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("update %d of citizen %d, asked %d times: %v, %v", i, n, asked, v, err)
						return
					}
				}
			}
		})
	}
	var mu sync.Mutex
	proofs, settled := 0, map[string]bool{} // by reference: whether that was acknowledged
	newest := map[int64]int64{}             // version by citizen, of what was acknowledged as settled
	done := make(chan struct{})
	for n, s := range all {
		workers.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				claims, err := s.Claim(ctx, "mail", time.Now(), 5, store.AllLanes)
				if err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("claim: %v", err)
					return
				}
				if round%5 == n {
					s.Release(claims)
					continue
				}
				var ask []store.Settlement
				mu.Lock()
				for _, c := range claims {
					if c.Desired <= newest[c.Citizen] {
						t.Errorf("version %d of a citizen is handed out after %d was settled", c.Desired, newest[c.Citizen])
					}
					proofs++
					settled[fmt.Sprint("r", proofs)] = false
					ask = append(ask, store.Settlement{Claim: c, At: time.Now(), Status: store.Settled, Outcome: "delivered", Digest: []byte("d"), Given: true,
						Receipt: &store.Receipt{Source: c.Source, CitizenID: c.CitizenID, Rule: c.Rule, Target: c.Target, Digest: []byte("d"), Reference: fmt.Sprint("r", proofs)}})
				}
				mu.Unlock()
				if len(ask) == 0 {
					continue
				}
				switch err := s.Settle(ctx, ask); {
				case err == nil:
					mu.Lock()
					for _, a := range ask {
						settled[a.Receipt.Reference] = true
						newest[a.Claim.Citizen] = max(newest[a.Claim.Citizen], a.Claim.Desired)
					}
					mu.Unlock()
				case !errors.Is(err, store.ErrUnavailable):
					t.Errorf("settle: %v", err)
				}
			}
		})
	}
	senders.Wait()
	w.heal()
	eventually(t, "nothing is pending", func() bool {
		counts, err := all[0].Counts(ctx)
		return err == nil && counts["mail"].Pending == 0
	})
	close(done)
	workers.Wait()
	receipts, err := all[1].ListReceipts(ctx, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, r := range receipts {
		times[r.Reference]++
	}
	for reference, acknowledged := range settled {
		if n := times[reference]; n > 1 || acknowledged && n == 0 {
			t.Errorf("a settlement, acknowledged %v, has %d receipts", acknowledged, n)
		}
	}
	for n := range citizens {
		c, err := all[0].Citizen(ctx, "s", fmt.Sprint("c", n))
		if err != nil || !c.SentAt.Equal(t0.Add((updates-1)*time.Minute)) {
			t.Errorf("citizen %d is known as of %v, %v", n, c.SentAt, err)
		}
	}
	counts, err := all[0].Counts(ctx)
	if c := counts["mail"]; err != nil || c.Accepted < citizens*updates || c.Accepted != c.Delivered+c.Superseded {
		t.Errorf("counts %+v, %v", counts, err)
	}
	for _, s := range all {
		s.Close()
	}
	whole(t, direct)
	t.Logf("cut in the first message %d times, before the second %d, in it %d, before the answer %d; %d receipts",
		w.count(inFirst), w.count(beforeSecond), w.count(inSecond), w.count(beforeAnswer), len(receipts))
	if got := cuts - left; got < cuts/2 {
		t.Errorf("only %d cuts: too few to say anything", got)
	}
}
