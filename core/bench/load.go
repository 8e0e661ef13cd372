package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// updates makes effective-permission messages, of about 3.5 KB with five permissions. Only the bytes that differ are written anew, so
// that making them costs the machine next to nothing.
type updates struct {
	citizens, n int
	// load is which load these are of: whatever it sends is newer than what the one before sent.
	load    int
	message []byte
	citizen []int // where the citizen's number stands
	state   []int
	sent    []int
}

const (
	citizenMark = "CCCCCCCCCC"
	stateMark   = "SSSSSSS"
	sentMark    = "2026-03-02T09:14:05.120000Z"
)

func newUpdates(citizens, permissions, load int) *updates {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"applicationId":"acme-eu-01","citizenId":"c-%s","externalRef":"person-%[1]s@example.org","permissions":[`, citizenMark)
	for i := range permissions {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"transactionId":"t-%d-%s","optionType":"option","optionId":"opt%d","justification":"consent","state":"%s",`+
			`"channel":"web","campaign":"spring-26","privacyPolicyId":"pp-7","privacyPolicyRef":"privacy-v4",`+
			`"permissionStatementId":"ps-3","permissionStatementRef":"newsletter-stmt-2","recordedBy":"u-81","recordedByName":"N. N.",`+
			`"recordedClient":"cl-22","recordedClientName":"Website sign-up","delegatedAuthorityId":null,"delegatedAuthorityName":null,`+
			`"recordedAt":"%s","obtainedAt":"2026-03-02T09:14:04.000Z","validFrom":"2026-03-02T09:14:04.000Z","validUntil":"2036-03-02T09:14:04.000Z"}`,
			i, citizenMark, i+1, stateMark, sentMark)
	}
	fmt.Fprintf(&b, `],"preferences":[{"preference":"interests","choices":[{"reference":"jazz","label":"Jazz"},{"reference":"blues","label":"Blues"}],`+
		`"label":"What interests you?","submissionId":"s-551","updatedAt":"%s"}],"sentAt":"%[1]s"}`, sentMark)
	u := &updates{citizens: citizens, load: load, message: b.Bytes()}
	u.citizen, u.state, u.sent = marks(u.message, citizenMark), marks(u.message, stateMark), marks(u.message, sentMark)
	return u
}

func marks(message []byte, mark string) []int {
	var at []int
	for from := 0; ; {
		i := bytes.Index(message[from:], []byte(mark))
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + len(mark)
	}
}

// next is valid until the next call. Citizens come in turns, every update newer than the one before.
func (u *updates) next() []byte {
	citizen := fmt.Appendf(nil, "%010d", u.n%u.citizens)
	state := []string{"GRANTED", "CLAIMED"}[(u.n/u.citizens+u.load)%2]
	sent := time.Date(2026, 3, 2, 9, 14, 5, 0, time.UTC).Add(time.Duration(u.load)*time.Hour+time.Duration(u.n)*time.Microsecond).AppendFormat(nil, "2006-01-02T15:04:05.000000Z")
	for _, i := range u.citizen {
		copy(u.message[i:], citizen)
	}
	for _, i := range u.state {
		copy(u.message[i:], state)
	}
	for _, i := range u.sent {
		copy(u.message[i:], sent)
	}
	u.n++
	return u.message
}

// load posts updates over so many connections for the time given and answers how long each took, sorted. It speaks
// HTTP by hand: net/http's client costs as much as the server it measures.
func (o options) load(addresses ...string) ([]time.Duration, error) {
	end := time.Now().Add(o.time)
	return o.send(addresses, func(int, int) (time.Time, bool) { now := time.Now(); return now, now.Before(end) })
}

// loadAt posts so many updates a second for the time given, at random instants, each as probable as any other. What it
// answers counts from when an update was to be sent, so that one that is held up counts for those behind it.
func (o options) loadAt(address string, rate int) ([]time.Duration, error) {
	began, mean := time.Now(), float64(o.senders)*float64(time.Second)/float64(rate)
	due := slices.Repeat([]time.Time{began}, o.senders)
	return o.send([]string{address}, func(sender, _ int) (time.Time, bool) {
		due[sender] = due[sender].Add(time.Duration(rand.ExpFloat64() * mean))
		time.Sleep(time.Until(due[sender]))
		return due[sender], due[sender].Before(began.Add(o.time))
	})
}

// fill posts one update of every citizen.
func (o options) fill(address string) error {
	_, err := o.send([]string{address}, func(_, i int) (time.Time, bool) { return time.Now(), i < max(1, o.citizens/o.senders) })
	return err
}

// send posts updates over all connections, which take the addresses in turns, each as long as next says when the sender's
// i-th update is due.
func (o options) send(addresses []string, next func(sender, i int) (due time.Time, more bool)) (took []time.Duration, err error) {
	load := int(o.loads.Add(1))
	var stop atomic.Bool
	var senders sync.WaitGroup
	var mu sync.Mutex
	for s := range o.senders {
		senders.Go(func() {
			mine, e := o.sendOver(addresses[s%len(addresses)], load, s, func(i int) (time.Time, bool) {
				due, more := next(s, i)
				return due, more && !stop.Load()
			})
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if e != nil {
				err = e
				stop.Store(true)
			}
		})
	}
	senders.Wait()
	slices.Sort(took)
	if err == nil && len(took) == 0 {
		err = errors.New("nothing was acknowledged")
	}
	return took, err
}

// sendOver is one connection. Each has citizens of its own, so that their updates stay in order.
func (o options) sendOver(address string, load, sender int, next func(i int) (due time.Time, more bool)) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	u := newUpdates(max(1, o.citizens/o.senders), o.permissions, load)
	head := fmt.Appendf(nil, "POST /webhooks/dataguard HTTP/1.1\r\nHost: %s\r\nX-API-Key: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		address, len(u.message))
	var took []time.Duration
	var request []byte
	for i := 0; ; i++ {
		due, more := next(i)
		if !more {
			return took, nil
		}
		message := u.next()
		for _, at := range u.citizen {
			copy(message[at:], fmt.Appendf(nil, "%03d", sender))
		}
		request = append(append(request[:0], head...), message...)
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		status, err := readAnswer(answers)
		if err != nil {
			return took, err
		}
		if status != 200 {
			return took, fmt.Errorf("answer %d", status)
		}
		took = append(took, time.Since(due))
	}
}

// readAnswer reads one answer with a Content-Length.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("no HTTP answer")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, err := readHeader(r)
	if err != nil {
		return 0, err
	}
	_, err = r.Discard(length)
	return status, err
}

// readHeader reads to the end of the header and answers the Content-Length.
func readHeader(r *bufio.Reader) (length int, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
}

// sink is a target that takes everything: it reads a request and answers 200, by hand as well.
type sink struct {
	listener net.Listener
	taken    atomic.Int64
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		if _, err := r.ReadSlice('\n'); err != nil {
			return
		}
		length, err := readHeader(r)
		if err != nil {
			return
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		s.taken.Add(1)
		if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
			return
		}
	}
}
