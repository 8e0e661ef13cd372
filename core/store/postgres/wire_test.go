package postgres

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

// cut is where a transaction loses its connection. It has two messages, see commit.
type cut int

const (
	nowhere cut = iota
	// inFirst: the server has a part of the message that begins it.
	inFirst
	// beforeSecond: the message that commits does not reach the server.
	beforeSecond
	// inSecond: a part of it does. If that has the COMMIT in it, the server carries it out.
	inSecond
	// beforeAnswer: the server has committed, and its answer does not arrive.
	beforeAnswer
)

// wire is a way to the server that is cut on request. It understands as much of the protocol as that takes.
type wire struct {
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu     sync.Mutex
	where  func(statements []string) cut // asked of each message of a transaction, with all statements so far
	cuts   map[cut]int
	ends   map[net.Conn]bool
	closed bool
}

// newWire is a way to the cluster, and the connection string of a new database on that way.
func newWire(t *testing.T, cluster *pgtest.Cluster) (w *wire, dsn, direct string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wire{listener: l, server: cluster.Address(), cuts: map[cut]int{}, ends: map[net.Conn]bool{}}
	w.heal()
	w.all.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		w.closed = true
		for c := range w.ends {
			c.Close()
		}
		w.mu.Unlock()
		w.all.Wait()
	})
	direct = cluster.Database(t)
	return w, strings.Replace(direct, w.server, l.Addr().String(), 1), direct
}

func (w *wire) set(where func([]string) cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.where = where
}

func (w *wire) heal() { w.set(func([]string) cut { return nowhere }) }

// once cuts the next transaction that has a statement with a text.
func (w *wire) once(at cut, text string) {
	armed := true
	w.set(func(statements []string) cut {
		last := statements[len(statements)-1] == "commit"
		if !armed || last == (at == inFirst) || !slices.ContainsFunc(statements, func(s string) bool { return strings.Contains(s, text) }) {
			return nowhere
		}
		armed = false
		return at
	})
}

func (w *wire) count(at cut) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts[at]
}

func (w *wire) ask(statements []string) cut {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.where(statements)
	w.cuts[at]++
	return at
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		w.ends[client], w.ends[server] = true, true
		if w.closed {
			client.Close()
			server.Close()
		}
		w.mu.Unlock()
		l := &line{wire: w, client: client, server: server}
		w.all.Go(l.up)
		w.all.Go(l.down)
	}
}

// line is one connection.
type line struct {
	*wire
	client, server net.Conn
	mu             sync.Mutex
	unanswered     bool // the answer to the COMMIT that was sent is to be lost
}

func (l *line) hangUp() {
	l.client.Close()
	l.server.Close()
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	delete(l.ends, l.client)
	delete(l.ends, l.server)
}

// message reads one of those that have a type, whole.
func message(from io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	all := append(head, make([]byte, binary.BigEndian.Uint32(head[1:])-4)...)
	_, err := io.ReadFull(from, all[5:])
	return all, err
}

// up passes on what the client says, up to each Sync in one piece.
func (l *line) up() {
	defer l.hangUp()
	var size [4]byte // of the first message, which has no type
	if _, err := io.ReadFull(l.client, size[:]); err != nil {
		return
	}
	first := append(size[:], make([]byte, binary.BigEndian.Uint32(size[:])-4)...)
	if _, err := io.ReadFull(l.client, first[4:]); err != nil {
		return
	}
	if _, err := l.server.Write(first); err != nil {
		return
	}
	prepared := map[string]string{}
	var said, open []string // statements of this piece, and of the transaction
	var piece []byte
	for {
		m, err := message(l.client)
		if err != nil {
			return
		}
		piece = append(piece, m...)
		switch m[0] {
		case 'P':
			var p pgproto3.Parse
			if p.Decode(m[5:]) == nil {
				prepared[p.Name] = p.Query
			}
			continue
		case 'B':
			var b pgproto3.Bind
			if b.Decode(m[5:]) == nil {
				said = append(said, prepared[b.PreparedStatement])
			}
			continue
		case 'D', 'E', 'H', 'C':
			continue
		}
		if slices.Contains(said, "begin") {
			open = nil
		}
		open = append(open, said...)
		at := nowhere
		if slices.Contains(said, "begin") || slices.Contains(said, "commit") {
			at = l.ask(open)
		}
		switch at {
		case inFirst, inSecond:
			_, _ = l.server.Write(piece[:len(piece)*9/10])
			return
		case beforeSecond:
			return
		case beforeAnswer:
			l.mu.Lock()
			l.unanswered = true
			l.mu.Unlock()
		}
		if _, err := l.server.Write(piece); err != nil {
			return
		}
		piece, said = nil, nil
	}
}

// down passes on what the server says.
func (l *line) down() {
	defer l.hangUp()
	for {
		m, err := message(l.server)
		if err != nil {
			return
		}
		l.mu.Lock()
		lost := l.unanswered && m[0] == 'C' && string(m[5:len(m)-1]) == "COMMIT"
		l.mu.Unlock()
		if lost {
			return
		}
		if _, err := l.client.Write(m); err != nil {
			return
		}
	}
}
