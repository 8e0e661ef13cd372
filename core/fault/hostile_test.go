package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maxResident is how much memory the daemon may have under attack.
const maxResident = 256 << 20

// attack is what hostile senders do at once, until stop is closed.
type attack struct {
	name string
	run  func(t *testing.T, d *daemon, stop <-chan struct{})
}

// TestHostileSenders attacks the daemon while a good sender goes on. Its updates are accepted all the time, the
// process lives, and its memory stays in bounds.
func TestHostileSenders(t *testing.T) {
	sink := newSink(t)
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", ""))
	d.start()
	s := newSender(d, "c", 64)
	var largest atomic.Int64
	watched, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		for {
			largest.Store(max(largest.Load(), d.resident()))
			select {
			case <-watched:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	stopLoad := s.load(4)
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			largest.Store(0)
			stop := make(chan struct{})
			time.AfterFunc(time.Duration(howOften(0, 1, 20))*time.Second, func() { close(stop) })
			acks := s.acks.Load()
			a.run(t, d, stop)
			<-stop
			if d.ended() {
				t.Fatalf("it ended: %v", d.cmd.ProcessState)
			}
			good := s.acks.Load() - acks
			eventually(t, "an update is accepted", func() bool { return s.acks.Load() > acks })
			if l := largest.Load(); l > maxResident {
				t.Errorf("%d MB resident", l>>20)
			}
			t.Logf("%d good updates meanwhile, %d MB resident at most", good, largest.Load()>>20)
		})
	}
	stopLoad()
	close(watched)
	<-watching
	s.check(t, d, sink, "sink")
	d.stop()
}

func attacks() []attack {
	all := []attack{
		{"flood of connections", flood},
		{"slow headers", func(t *testing.T, d *daemon, stop <-chan struct{}) {
			slow(t, d, stop, 400, "POST /webhooks/dataguard HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		}},
		{"slow bodies", func(t *testing.T, d *daemon, stop <-chan struct{}) {
			slow(t, d, stop, 400, "POST /webhooks/dataguard HTTP/1.1\r\nHost: x\r\nX-API-Key: secret-key\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"a\":\"")
		}},
		{"a body of a gigabyte", func(t *testing.T, d *daemon, stop <-chan struct{}) { endless(t, d, stop, "secret-key", 413) }},
		{"a body of a gigabyte, with no credential", func(t *testing.T, d *daemon, stop <-chan struct{}) { endless(t, d, stop, "wrong", 401) }},
	}
	body := func(name string, quarantined bool, make func(n int) []byte) {
		all = append(all, attack{name, func(t *testing.T, d *daemon, stop <-chan struct{}) {
			status := http.StatusOK
			if quarantined {
				status = http.StatusAccepted
			}
			bodies(t, d, stop, status, make)
		}})
	}
	const megabyte = 1 << 20
	around := func(n int, what string) []byte {
		return fmt.Appendf(nil, `{"applicationId":"acme","citizenId":"h%d","permissions":[],"sentAt":"2026-03-02T09:00:00Z","x":%s}`, n%8, what)
	}
	body("100,000 levels", true, func(n int) []byte {
		return around(n, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))
	})
	body("100,000 levels, never closed", true, func(n int) []byte {
		return fmt.Appendf(nil, `{"n":%d,"x":%s`, n, strings.Repeat(`{"a":[`, 100_000))
	})
	body("duplicate keys", true, func(n int) []byte { return around(n, `1,"citizenId":"c1"`) })
	body("invalid UTF-8", true, func(n int) []byte { return around(n, "\"\xff\xfe\xc0\x80\"") })
	body("numbers of 500,000 digits", false, func(n int) []byte { return around(n, strings.Repeat("9", 500_000)) })
	body("numbers beyond any range", false, func(n int) []byte { return around(n, "1e999999999") })
	body("a citizen of a megabyte", true, func(n int) []byte {
		return fmt.Appendf(nil, `{"applicationId":"acme","citizenId":"%d%s","permissions":[]}`, n, strings.Repeat("x", megabyte-100))
	})
	body("a megabyte of permissions", true, func(n int) []byte {
		return around(n, `1,"permissions":[`+strings.Repeat("{},", megabyte/4)+`{}]`)
	})
	body("a megabyte of junk", true, func(n int) []byte {
		return append(fmt.Appendf(nil, "%d", n), bytes.Repeat([]byte("\x00"), megabyte-100)...)
	})
	return all
}

// flood opens connections and says nothing on them, or opens and closes.
func flood(t *testing.T, d *daemon, stop <-chan struct{}) {
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-stop:
			t.Logf("%d connections, %d of them open at once", n, len(all))
			return
		default:
		}
		c, err := net.DialTimeout("tcp", d.listener, time.Second)
		switch {
		case err != nil:
			time.Sleep(10 * time.Millisecond)
		case len(all) < 1500:
			all = append(all, c)
		default:
			c.Close()
		}
	}
}

// slow begins requests and goes on with them a byte at a time.
func slow(t *testing.T, d *daemon, stop <-chan struct{}, connections int, head string) {
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			c, err := net.DialTimeout("tcp", d.listener, patience)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for say := head; ; say = "x" {
				if _, err := io.WriteString(c, say); err != nil {
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	all.Wait()
}

// endless sends bodies in chunks until a gigabyte is sent or the daemon refuses.
func endless(t *testing.T, d *daemon, stop <-chan struct{}, key string, want int) {
	const gigabyte = 1 << 30
	var all sync.WaitGroup
	var sent, refused atomic.Int64
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				body := io.LimitReader(reader(func(p []byte) (int, error) {
					sent.Add(int64(len(p)))
					return len(p), nil
				}), gigabyte)
				req, err := http.NewRequest(http.MethodPost, "http://"+d.listener+"/webhooks/dataguard", body)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-API-Key", key)
				req.Header.Set("Content-Type", "application/json")
				// The answer may get lost when the connection is closed on what is still being sent.
				if res, err := client.Do(req); err == nil {
					res.Body.Close()
					refused.Add(1)
					if res.StatusCode != want {
						t.Errorf("answer %s", res.Status)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if refused.Load() == 0 {
		t.Error("no answer at all")
	}
	t.Logf("%d MB sent, %d answers", sent.Load()>>20, refused.Load())
}

type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// bodies posts what make makes, with the right credential, from many connections at once. So many posts are
// enough: what is quarantined is kept.
func bodies(t *testing.T, d *daemon, stop <-chan struct{}, want int, make func(n int) []byte) {
	var all sync.WaitGroup
	var n atomic.Int64
	for range 32 {
		all.Go(func() {
			c := &connection{address: d.listener}
			defer c.close()
			for {
				i := n.Add(1)
				select {
				case <-stop:
					return
				default:
					if i > 128 {
						return
					}
				}
				a, err := c.post(make(int(i)))
				var netError net.Error
				if errors.As(err, &netError) && netError.Timeout() {
					t.Error(err)
					return
				}
				if err == nil && a.status != want {
					t.Errorf("answer %+v", a)
					return
				}
			}
		})
	}
	all.Wait()
}
