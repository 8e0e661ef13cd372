package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/consentd/consentd/core/config"
)

const mebibyte = 1 << 20

// hall is a handler for large bodies on the fake clock, whose store holds on to what it gets.
type hall struct {
	t       *testing.T
	handler *Handler
	bench   *bench
	leave   chan struct{}

	mu      sync.Mutex
	inStore int
}

func inHall(t *testing.T, test func(*testing.T, *hall)) {
	b := newBench(t, keyAuth())
	synctest.Test(t, func(t *testing.T) {
		h := &hall{t: t, bench: b, leave: make(chan struct{})}
		o := b.options(b.source)
		o.Listener = config.Listener{MaxBodySize: mebibyte}
		var err error
		if h.handler, err = New(o); err != nil {
			t.Fatal(err)
		}
		b.store.before = func(context.Context) {
			h.mu.Lock()
			h.inStore++
			h.mu.Unlock()
			<-h.leave
			h.mu.Lock()
			h.inStore--
			h.mu.Unlock()
		}
		test(t, h)
	})
}

// post sends a body whose length is told if it is not negative; the answer comes when there is one.
func (h *hall) post(body io.Reader, length int64) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	req := httptest.NewRequest(http.MethodPost, path, body)
	req.Header, req.ContentLength = withKey(nil), length
	go func() {
		w := newRecorder()
		h.handler.ServeHTTP(w, req)
		answer <- w
	}()
	return answer
}

// padded is an update of that many bytes.
func padded(size int) string {
	u := update("c-1", "GRANTED", monday)
	return u + strings.Repeat(" ", size-len(u))
}

func TestRoomForBodies(t *testing.T) {
	for _, tc := range []struct {
		name        string
		size        int
		told        bool
		posts       int
		least, most int // in the store at once
	}{
		{"large", mebibyte, true, 32, 8, 8},
		{"large, of unknown length", mebibyte, false, 32, 6, 8},
		{"usual", 4 << 10, true, 500, 500, 500},
		{"usual, of unknown length", 4 << 10, false, 128, 128, 128},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inHall(t, func(t *testing.T, h *hall) {
				body := padded(tc.size)
				length := int64(-1)
				if tc.told {
					length = int64(tc.size)
				}
				start := time.Now()
				var answers []<-chan *httptest.ResponseRecorder
				for range tc.posts {
					answers = append(answers, h.post(strings.NewReader(body), length))
				}
				time.Sleep(2*roomWait + time.Millisecond) // a body of unknown length may wait twice
				synctest.Wait()
				inStore := h.inStore
				if inStore < tc.least || inStore > tc.most {
					t.Errorf("%d bodies got as far as the store, want %d to %d", inStore, tc.least, tc.most)
				}
				refused := 0
				for _, a := range answers {
					select {
					case w := <-a:
						refused++
						if w.Code != 503 || !strings.Contains(w.Body.String(), "busy") || w.Header().Get("Retry-After") != "5" {
							t.Errorf("answer = %d %s", w.Code, w.Body)
						}
					default:
					}
				}
				if refused != tc.posts-inStore {
					t.Errorf("%d refused after %v, want %d", refused, time.Since(start), tc.posts-inStore)
				}
				close(h.leave)
				synctest.Wait()
				// All the room is there again.
				for range 8 {
					if w := <-h.post(strings.NewReader(padded(mebibyte)), mebibyte); w.Code != 200 {
						t.Errorf("answer afterwards = %d %s", w.Code, w.Body)
					}
				}
			})
		})
	}
}

// TestRoomIsWaitedFor: a post that finds no room gets it when there is some within a second.
func TestRoomIsWaitedFor(t *testing.T) {
	inHall(t, func(t *testing.T, h *hall) {
		for range 8 {
			h.post(strings.NewReader(padded(mebibyte)), mebibyte)
		}
		synctest.Wait()
		late := h.post(strings.NewReader(padded(4<<10)), 4<<10)
		time.Sleep(roomWait / 2)
		close(h.leave)
		if w := <-late; w.Code != 200 {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
	})
}

// TestSlowSendersLeaveTheRoom when the server gives them up, whether they told a length or not.
func TestSlowSendersLeaveTheRoom(t *testing.T) {
	for _, length := range []int64{mebibyte, -1} {
		inHall(t, func(t *testing.T, h *hall) {
			close(h.leave)
			var slow []<-chan *httptest.ResponseRecorder
			var senders []*io.PipeWriter
			for range 7 {
				r, w := io.Pipe()
				slow, senders = append(slow, h.post(r, length)), append(senders, w)
				if _, err := w.Write(make([]byte, unknownSize+1)); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			if w := <-h.post(strings.NewReader(padded(mebibyte)), mebibyte); w.Code != 200 {
				t.Errorf("beside seven slow ones: answer = %d", w.Code)
			}
			r, last := io.Pipe()
			slow, senders = append(slow, h.post(r, length)), append(senders, last)
			if _, err := last.Write(make([]byte, unknownSize+1)); err != nil {
				t.Fatal(err)
			}
			if w := <-h.post(strings.NewReader(padded(4<<10)), 4<<10); w.Code != 503 || time.Since(start) != roomWait {
				t.Errorf("beside eight slow ones: answer = %d after %v", w.Code, time.Since(start))
			}
			for i, w := range senders {
				w.CloseWithError(os.ErrDeadlineExceeded)
				if a := <-slow[i]; a.Code != http.StatusRequestTimeout {
					t.Errorf("slow one: answer = %d %s", a.Code, a.Body)
				}
			}
			if w := <-h.post(strings.NewReader(padded(mebibyte)), mebibyte); w.Code != 200 || time.Since(start) != roomWait {
				t.Errorf("after them: answer = %d", w.Code)
			}
		})
	}
}
