package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// TestUnfitServer: a server that would lose what was acknowledged, or only reads, is refused by name at the start and
// by Check, and served once it is set right.
func TestUnfitServer(t *testing.T) {
	cluster := pgtest.New(t)
	dsn := cluster.Database(t)
	s := open1(t, dsn)
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	s.Close()
	for _, tc := range []struct{ setting, want string }{
		{"fsync=off", "fsync or full_page_writes is off"},
		{"full_page_writes=off", "fsync or full_page_writes is off"},
		{"synchronous_commit=off", "synchronous_commit is off"},
		{"", "the server is a standby"},
	} {
		if tc.setting == "" {
			signal := cluster.Dir() + "/data/standby.signal"
			if err := os.WriteFile(signal, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			cluster.Own(t, signal)
		}
		cluster.Restart(t, strings.Fields(tc.setting)...)
		s, err := Open(ctx, Options{DSN: dsn})
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", tc.want)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.want, err)
		}
		if err := Check(ctx, Options{DSN: dsn}, false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: checked: %v", tc.want, err)
		}
	}
	// A store that is open when its server becomes one takes nothing in, and goes on with the next primary.
	if err := os.Remove(cluster.Dir() + "/data/standby.signal"); err != nil {
		t.Fatal(err)
	}
	cluster.Restart(t, "default_transaction_read_only=on") // the store's own sessions write all the same
	s = open1(t, dsn)
	defer s.Close()
	accept(t, s, update("ada", "GRANTED", 1), consent.Duplicate)
	accept(t, s, update("ada", "DENIED", 2), consent.Accepted)
	if err := os.WriteFile(cluster.Dir()+"/data/standby.signal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.Own(t, cluster.Dir()+"/data/standby.signal")
	cluster.Restart(t)
	if _, err := s.Accept(ctx, update("bob", "GRANTED", 1)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accepted by a standby: %v", err)
	}
	eventually(t, "it says that it has met a standby", func() bool { // connections to the primary end first
		err := s.Ready(ctx)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("ready on a standby: %v", err)
		}
		return err == nil || strings.Contains(err.Error(), "standby")
	})
	if err := cluster.Exec("postgres", "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready again", func() bool { return s.Ready(ctx) == nil })
	accept(t, s, update("bob", "GRANTED", 1), consent.Accepted)
}

// TestFewConnections has as many callers as a busy replica, over as few connections as it may have: each is served.
func TestFewConnections(t *testing.T) {
	const callers, each = 64, 6
	dsn := server.Cluster(t).Database(t)
	s, err := Open(ctx, Options{DSN: dsn, MaxConnections: LeastConnections})
	if err != nil {
		t.Fatal(err)
	}
	route(t, s, toMail...)
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			for i := range each {
				if _, err := s.Accept(ctx, update(fmt.Sprint("c", n), "GRANTED", i)); err != nil {
					t.Errorf("accept: %v", err)
				}
			}
		})
		all.Go(func() {
			for i := range each {
				claims, err := s.Claim(ctx, "mail", time.Now(), 3, store.AllLanes)
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				if i%2 == 0 {
					s.Release(claims)
				} else if len(claims) > 0 {
					var ask []store.Settlement
					for _, c := range claims {
						ask = append(ask, store.Settlement{Claim: c, At: time.Now(), Status: store.Settled, Outcome: "delivered"})
					}
					if err := s.Settle(ctx, ask); err != nil {
						t.Errorf("settle: %v", err)
					}
				}
				if _, err := s.NextDue(ctx, "mail"); err != nil {
					t.Errorf("next due: %v", err)
				}
				if err := s.Ready(ctx); err != nil {
					t.Errorf("ready: %v", err)
				}
			}
		})
	}
	all.Wait()
	if counts, err := s.Counts(ctx); err != nil || counts["mail"].Accepted != callers*each {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if n := s.pool.Stat().MaxConns(); n != LeastConnections {
		t.Errorf("%d connections", n)
	}
	s.Close()
	whole(t, dsn)
}

// TestServerOutOfConnections: a server that has no connection left is named at the start, with what to do. Later the caller may
// try again, and all goes on by itself once there are some.
func TestServerOutOfConnections(t *testing.T) {
	cluster := pgtest.New(t, "max_connections=12", "superuser_reserved_connections=3")
	name := pgtest.Name(cluster.Database(t))
	if err := cluster.Exec(name, "CREATE ROLE plain LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO plain"); err != nil {
		t.Fatal(err)
	}
	dsn := strings.Replace(cluster.DSN(name), "consentd@", "plain@", 1)
	var others []*pgx.Conn
	taken := func() { // every connection that is left
		for {
			c, err := pgx.Connect(ctx, dsn+"&application_name="+url.QueryEscape("another"))
			if err != nil {
				return
			}
			others = append(others, c)
		}
	}
	given := func() {
		for _, c := range others {
			_ = c.Close(ctx)
		}
		others = nil
	}
	defer given()
	taken()
	if s, err := Open(ctx, Options{DSN: dsn}); err == nil {
		s.Close()
		t.Error("opened")
	} else if !strings.Contains(err.Error(), "raise its max_connections") {
		t.Error(err)
	}
	given()
	var s *Store
	eventually(t, "the server has connections again", func() (ok bool) {
		var err error
		s, err = Open(ctx, Options{DSN: dsn, MaxConnections: LeastConnections})
		return err == nil
	})
	defer s.Close()
	route(t, s, toMail...)
	accept(t, s, update("ada", "GRANTED", 1), consent.Accepted)
	held := claim(t, s, 1)
	eventually(t, "others have every connection", func() bool {
		if err := cluster.Exec(name, `SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'consentd'`); err != nil {
			t.Fatal(err)
		}
		taken()
		return len(others) == 9
	})
	if _, err := s.Accept(ctx, update("bob", "GRANTED", 1)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accept: %v", err)
	}
	if err := s.Ready(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ready: %v", err)
	}
	given()
	eventually(t, "it is ready again", func() bool { return s.Ready(ctx) == nil })
	accept(t, s, update("bob", "GRANTED", 1), consent.Accepted)
	settle(t, s, held...)
	eventually(t, "what was due is handed out", func() bool {
		c, err := s.Claim(ctx, "mail", time.Now(), 10, store.AllLanes)
		return err == nil && len(c) == 1 && c[0].CitizenID == "bob"
	})
}
