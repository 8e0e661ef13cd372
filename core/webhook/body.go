package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// leastRoom is for thousands of bodies of the usual size.
	leastRoom = 8 << 20
	// largest is how many bodies of the maximum size there is room for in any case.
	largest = 4
	// roomWait is how long a post waits for room: about as long as others take to be committed, and far less
	// than a sender's patience.
	roomWait = time.Second
	// unknownSize is the room that a body of unknown length begins with.
	unknownSize = 64 << 10
)

// newRoom is the bytes of bodies that all sources together may hold at once, from before they are read until
// they are answered. What decoding makes of a body is a small multiple of it.
func newRoom(maxBodySize int64) *semaphore.Weighted {
	return semaphore.NewWeighted(max(leastRoom, largest*maxBodySize))
}

var (
	errTooLarge = errors.New("body is over the maximum size")
	errNoRoom   = errors.New("other bodies take all the room for them")
)

// read takes the whole body into a slice of its own, which the store may keep. The room it holds is to be
// released, also after an error. The error is a reason for the log, and the result says what to answer.
func (l *listener) read(w http.ResponseWriter, r *http.Request) (body []byte, held int64, res result, err error) {
	size := r.ContentLength
	if size > l.limit {
		return nil, 0, tooLarge, errTooLarge
	}
	if size < 0 {
		size = min(unknownSize, l.limit)
	}
	if !l.reserve(r.Context(), size) {
		return nil, 0, busy, errNoRoom
	}
	if r.ContentLength >= 0 {
		body = make([]byte, size)
		_, err = io.ReadFull(r.Body, body)
		res, err = unread(err)
		return body, size, res, err
	}
	var buf bytes.Buffer
	all := http.MaxBytesReader(w, r.Body, l.limit)
	if _, err = io.CopyN(&buf, all, size); err == nil {
		// It may go on, and what it comes to is not known: it gets as much as it may have, or nothing more.
		if rest := l.limit - size; rest > 0 && !l.reserve(r.Context(), rest) {
			return nil, size, busy, errNoRoom
		}
		size = l.limit
		_, err = buf.ReadFrom(all)
	} else if err == io.EOF {
		err = nil
	}
	res, err = unread(err)
	return buf.Bytes(), size, res, err
}

// reserve waits for room, but not for long: what cannot be held is to come again.
func (l *listener) reserve(ctx context.Context, bytes int64) bool {
	if l.room.TryAcquire(bytes) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	return l.room.Acquire(ctx, bytes) == nil
}

// unread is why a body could not be read, in words that hold nothing of it.
func unread(err error) (result, error) {
	if err == nil {
		return accepted, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge, errTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return timedOut, errors.New("body came too slowly")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return incomplete, errors.New("body ended early")
	}
	return incomplete, errors.New("body could not be read")
}
