package fault

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sender posts updates as the real one does: it holds on to each until it is answered with 2xx. It remembers
// what was, which is all that a check afterwards may count on.
type sender struct {
	address  string
	others   []string // of further replicas, any of which takes what another does not
	citizens []citizen
	// acks is how many posts were answered with 2xx, by the daemon's own counting too.
	acks atomic.Int64
	// refused is how many were answered otherwise, lost how many got no answer.
	refused, lost atomic.Int64
}

type citizen struct {
	name  string
	acked atomic.Int64 // the newest update answered with 2xx; they are numbered from 1
}

func newSender(d *daemon, prefix string, citizens int) *sender {
	s := &sender{address: d.listener, citizens: make([]citizen, citizens)}
	for i := range s.citizens {
		s.citizens[i].name = fmt.Sprint(prefix, i)
	}
	return s
}

// epoch is when update 0 was sent.
var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const stamp = "2006-01-02T15:04:05.000000Z"

// filling makes an update about as large as real ones are.
var filling = strings.Repeat("spring-", 150)

// update is the n-th of a citizen in the sender's order, always the same bytes.
func update(citizen string, n int64) []byte {
	at := epoch.Add(time.Duration(n) * time.Millisecond).Format(stamp)
	return fmt.Appendf(nil, `{"applicationId":"acme","citizenId":%q,"externalRef":"%s@example.org","permissions":[{"transactionId":"t-%d",`+
		`"optionType":"option","optionId":"k3Rmx","justification":"consent","state":%q,"campaign":%q,"recordedAt":%q,"validUntil":null}],`+
		`"preferences":[],"sentAt":%q}`, citizen, citizen, n, []string{"DENIED", "GRANTED"}[n%2], filling, at, at)
}

// number is that of the update sent at an instant.
func number(sentAt string) int64 {
	at, err := time.Parse(time.RFC3339Nano, sentAt)
	if err != nil {
		return -1
	}
	return at.Sub(epoch).Milliseconds()
}

// load posts over so many connections until the returned function is called, which waits for them. Each
// connection has citizens of its own. Now and then one posts the update before the last once more, as a
// sender does that missed an answer.
func (s *sender) load(connections int) (stop func()) {
	var stopped atomic.Bool
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() {
			c := &connection{address: s.address}
			defer c.close()
			for i := n; !stopped.Load(); i += connections {
				if i >= len(s.citizens) {
					i = n
				}
				s.bring(c, &s.citizens[i], &stopped)
			}
		})
	}
	return func() {
		stopped.Store(true)
		all.Wait()
	}
}

// bring posts a citizen's next update until it is acknowledged.
func (s *sender) bring(c *connection, of *citizen, stopped *atomic.Bool) {
	n := of.acked.Load() + 1
	for !stopped.Load() && !s.post(c, of, n) {
		time.Sleep(2 * time.Millisecond)
		s.turn(c)
	}
	if rand.IntN(64) == 0 {
		s.turn(c)
	}
	if of.acked.Load() == n && n > 1 && rand.IntN(8) == 0 {
		s.post(c, of, n-1)
	}
}

// turn goes to another replica, if there are any.
func (s *sender) turn(c *connection) {
	if len(s.others) == 0 {
		return
	}
	c.close()
	all := append([]string{s.address}, s.others...)
	c.address, c.patience = all[rand.IntN(len(all))], 2*time.Second
}

// post posts once and says whether that was acknowledged.
func (s *sender) post(c *connection, of *citizen, n int64) bool {
	switch a, err := c.post(update(of.name, n)); {
	case err != nil:
		s.lost.Add(1)
	case a.status == http.StatusOK:
		s.acks.Add(1)
		of.acked.Store(max(n, of.acked.Load()))
		return true
	default:
		s.refused.Add(1)
	}
	return false
}

// connection is one to the daemon, made anew whenever it broke. net/http's client would cost as much as the
// daemon it loads.
type connection struct {
	address  string
	patience time.Duration // 0: that of the tests
	conn     net.Conn
	answers  *bufio.Reader
	request  []byte
}

// answer is what the daemon said to a post.
type answer struct {
	status     int
	word       string // the body's status
	retryAfter string
}

func (c *connection) post(body []byte) (_ answer, err error) {
	c.request = fmt.Appendf(c.request[:0], "POST /webhooks/dataguard HTTP/1.1\r\nHost: %s\r\nX-API-Key: secret-key\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.address, len(body), body)
	within := cmp.Or(c.patience, patience)
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, within); err != nil {
			c.conn = nil
			return answer{}, err
		}
		c.answers = bufio.NewReader(c.conn)
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	_ = c.conn.SetDeadline(time.Now().Add(within))
	if _, err = c.conn.Write(c.request); err != nil {
		return answer{}, err
	}
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	var said struct{ Status string }
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return answer{}, err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return answer{}, err
	}
	if res.Close {
		c.close()
	}
	return answer{res.StatusCode, said.Status, res.Header.Get("Retry-After")}, nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// check holds what the sender knows against what the sink and the daemon have once nothing is pending: laws
// 1, 2 and 12.
func (s *sender) check(t testing.TB, d *daemon, sink *sink, target string) {
	t.Helper()
	counts := d.settled(target)
	if acks := s.acks.Load(); counts.Accepted < acks {
		t.Errorf("%d updates were acknowledged, the store knows of %d", acks, counts.Accepted)
	}
	if counts.Dead+counts.Discarded > 0 {
		t.Errorf("%d dead letters, %d discarded", counts.Dead, counts.Discarded)
	}
	lost := 0
	for i := range s.citizens {
		c := &s.citizens[i]
		if acked, got := c.acked.Load(), sink.newest(c.name); got < acked {
			if lost++; lost <= 3 {
				t.Errorf("%s: acknowledged up to update %d, delivered up to %d", c.name, acked, got)
			}
		}
	}
	if lost > 3 {
		t.Errorf("%d citizens lost acknowledged updates", lost)
	}
	sink.check(t)
}

// known posts once more what was acknowledged last of each citizen: a store that lost it would accept it anew.
func (s *sender) known(t testing.TB) {
	t.Helper()
	c := &connection{address: s.address}
	defer c.close()
	for i := range s.citizens {
		of := &s.citizens[i]
		n := of.acked.Load()
		if n == 0 {
			continue
		}
		a, err := c.post(update(of.name, n))
		if err != nil {
			t.Fatal(err)
		}
		// Superseded by the one after it, which was committed and not answered.
		if a.word != "duplicate" && a.word != "superseded" {
			t.Errorf("%s: update %d was acknowledged, and is %s now", of.name, n, a.word)
		}
	}
}
