package fault

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// misdeed is how a target misbehaves until it is mended, and how that shows.
type misdeed struct {
	name   string
	answer func(w http.ResponseWriter, r *http.Request, got record)
	// state is the target's while it misbehaves.
	state string
	// dead is whether deliveries end as dead letters, so that only a replay brings them home.
	dead bool
	// wait is the least time between the first call and the one after it.
	wait time.Duration
}

// alone is the citizen that a target refuses when it refuses one only.
const alone = "c7"

func status(code int, header ...string) func(http.ResponseWriter, *http.Request, record) {
	return func(w http.ResponseWriter, _ *http.Request, _ record) {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(code)
		fmt.Fprintln(w, "<html>not what you asked for</html>")
	}
}

func hijacked(say string) func(http.ResponseWriter, *http.Request, record) {
	return func(w http.ResponseWriter, _ *http.Request, _ record) {
		if conn, buf, err := w.(http.Hijacker).Hijack(); err == nil {
			_, _ = buf.WriteString(say)
			_ = buf.Flush()
			conn.Close()
		}
	}
}

func misdeeds(mended <-chan struct{}) []misdeed {
	all := []misdeed{
		{name: "unauthorized", answer: status(401), state: "unauthorized"},
		{name: "forbidden", answer: status(403), state: "unauthorized"},
		{name: "moved", answer: status(302, "Location", "/elsewhere"), state: "unauthorized"},
		{name: "conflict", answer: status(409), state: "failing"},
		{name: "unprocessable", answer: status(422), state: "running", dead: true},
		{name: "throttled", answer: status(429), state: "throttled"},
		{name: "throttled_seconds", answer: status(429, "Retry-After", "2"), state: "throttled", wait: 2 * time.Second},
		{name: "throttled_fraction", answer: status(429, "Retry-After", "1.5"), state: "throttled", wait: 1500 * time.Millisecond},
		{name: "throttled_date", answer: func(w http.ResponseWriter, r *http.Request, got record) {
			status(429, "Retry-After", time.Now().Add(3*time.Second).UTC().Format(http.TimeFormat))(w, r, got)
		}, state: "throttled", wait: 1900 * time.Millisecond},
		{name: "throttled_epoch", answer: func(w http.ResponseWriter, r *http.Request, got record) {
			status(429, "Retry-After", strconv.FormatInt(time.Now().Unix()+3, 10))(w, r, got)
		}, state: "throttled", wait: 1900 * time.Millisecond},
		{name: "throttled_oddly", answer: status(429, "Retry-After", "soon"), state: "throttled"},
		{name: "throttled_backwards", answer: status(429, "Retry-After", "-5"), state: "throttled"},
		{name: "overloaded", answer: status(503, "Retry-After", "1"), state: "throttled", wait: time.Second},
		{name: "broken", answer: status(500), state: "failing"},
		{name: "bad_gateway", answer: status(502), state: "failing"},
		{name: "cut_off", answer: hijacked(""), state: "failing"},
		{name: "truncated", answer: hijacked("HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n{\"err"), state: "failing"},
		{name: "no_http", answer: hijacked("220 mail.example.org ESMTP\r\n"), state: "failing"},
		{name: "hanging", answer: func(_ http.ResponseWriter, r *http.Request, _ record) {
			select {
			case <-mended:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler) // or the answer would be 200
		}, state: "failing"},
	}
	return all
}

// badTarget is one with a sink of its own that misbehaves until it is mended.
type badTarget struct {
	misdeed
	sink  *sink
	mu    sync.Mutex
	times []time.Time
}

func (b *badTarget) calls() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.times
}

// TestBadTargets gives one daemon a target for each way to misbehave, and a good one. The good one gets
// everything meanwhile; what pauses a target buries nothing; and after the mending each has the newest.
func TestBadTargets(t *testing.T) {
	const citizens = 40
	mended := make(chan struct{})
	var mend sync.Once
	defer mend.Do(func() { close(mended) })
	var bad []*badTarget
	good, picky := newSink(t), newSink(t)
	var refusing atomic.Bool
	refusing.Store(true)
	picky.answer = func(w http.ResponseWriter, _ *http.Request, got record) bool {
		if got.Citizen != alone || !refusing.Load() {
			return false
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		return true
	}
	config := []string{apiKeySource, good.rule("good", ""), picky.rule("picky", "")}
	for _, m := range misdeeds(mended) {
		b := &badTarget{misdeed: m, sink: newSink(t)}
		b.sink.answer = func(w http.ResponseWriter, r *http.Request, got record) bool {
			select {
			case <-mended:
				return false
			default:
			}
			defer func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.times = append(b.times, time.Now())
			}()
			b.answer(w, r, got)
			return true
		}
		config = append(config, b.sink.rule(b.name, "timeout = \"500ms\"\n  max_in_flight = 1"))
		bad = append(bad, b)
	}
	d := newDaemon(t, "", strings.Join(config, ""))
	d.start()
	s := newSender(d, "c", citizens)
	s.postAll(t, 0, 1) // alone, so that the first call has one record
	for _, b := range bad {
		eventually(t, b.name+" is called", func() bool { return len(b.calls()) >= 1 })
	}
	s.postAll(t, 1, citizens)
	if got := d.settled("good"); got.Delivered != citizens || got.Dead != 0 {
		t.Errorf("the good target among bad ones: %+v", got)
	}
	for _, b := range bad {
		eventually(t, b.name+" misbehaves again and again", func() bool { return len(b.calls()) > 1 })
		if b.dead {
			eventually(t, b.name+" buries all", func() bool { return d.target(b.name).Dead == citizens })
		}
		eventually(t, b.name+" is "+b.state, func() bool { return d.target(b.name).State == b.state })
		got := d.target(b.name)
		if got.Delivered != 0 || !b.dead && (got.Dead != 0 || got.Pending != citizens) {
			t.Errorf("%s while it misbehaves: %+v", b.name, got)
		}
		if b.wait > 0 {
			calls := b.calls()
			if gap := calls[1].Sub(calls[0]); gap < b.wait {
				t.Errorf("%s: called again after %v, having asked for %v", b.name, gap, b.wait)
			}
		}
	}
	eventually(t, "one is buried alone", func() bool { return d.target("picky").Dead == 1 })
	if got := d.settled("picky"); got.Delivered != citizens-1 || got.Dead != 1 {
		t.Errorf("where one is refused: %+v", got)
	}
	s.postAll(t, 0, citizens) // what arrives in the end is the newest
	d.settled("good")
	mend.Do(func() { close(mended) })
	refusing.Store(false)
	began := time.Now()
	for _, b := range bad {
		if b.dead {
			d.settled(b.name)
			d.replay(b.name)
		}
	}
	d.settled("picky")
	d.replay("picky")
	for _, b := range bad {
		s.check(t, d, b.sink, b.name)
	}
	s.check(t, d, good, "good")
	s.check(t, d, picky, "picky")
	t.Logf("%d ways to misbehave; all home %v after the mending", len(bad)+1, time.Since(began).Round(time.Millisecond))
	d.stop()
}

// postAll brings the next update of each citizen from one to another.
func (s *sender) postAll(t testing.TB, from, to int) {
	t.Helper()
	c := &connection{address: s.address}
	defer c.close()
	for i := from; i < to; i++ {
		of := &s.citizens[i]
		if !s.post(c, of, of.acked.Load()+1) {
			t.Fatalf("%s: not acknowledged", of.name)
		}
	}
}

// replay puts a target's dead letters back.
func (d *daemon) replay(target string) {
	d.t.Helper()
	res, err := client.Post("http://"+d.admin+"/v1/dead/replay", "application/json", strings.NewReader(`{"target":"`+target+`"}`))
	if err != nil {
		d.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		d.t.Fatalf("replay: %s", res.Status)
	}
}
