package lookup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/rules/eval"
)

// CSV looks into a file with a line of column names and one line a person, which is held in memory.
type CSV struct {
	Path string
	Key  string // the column with what Match comes to
	// Match is the key of a person.
	Match Expr
}

// lookAgain bounds how often the file is looked at for changes.
const lookAgain = time.Second

type csvBackend struct {
	*CSV
	fields []Field
	log    hclog.Logger

	table atomic.Pointer[table]

	reading sync.WaitGroup
	mu      sync.Mutex // held by the one who looks at the file
	looked  time.Time
	problem string // that was logged last
	// seen is the newest version of the file, and damage what is wrong with it.
	seen   stamp
	damage error
}

// stamp is what tells one version of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// table has the fields of each person; nil for those who stand there more than once, with different values.
type table map[string][]cty.Value

func openCSV(c Config, log hclog.Logger) (backend, error) {
	b := &csvBackend{CSV: c.CSV, fields: c.Fields, log: log, looked: time.Now()}
	if err := b.load(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *csvBackend) close() { b.reading.Wait() }

func (b *csvBackend) check(context.Context) error { return nil }

func (b *csvBackend) find(_ context.Context, p Person) (map[string]cty.Value, error) {
	b.look()
	key, err := b.Match.text(p)
	if err != nil {
		return nil, err
	}
	row, ok := (*b.table.Load())[key]
	switch {
	case !ok || key == "":
		return nil, ErrNobody
	case row == nil:
		return nil, errAmbiguous
	}
	values := map[string]cty.Value{}
	for i, f := range b.fields {
		values[f.Name] = row[i]
	}
	return values, nil
}

// look has the file read again when it has changed. Nobody waits for that: what there is stays in use meanwhile.
func (b *csvBackend) look() {
	if !b.mu.TryLock() {
		return
	}
	if time.Since(b.looked) < lookAgain {
		b.mu.Unlock()
		return
	}
	b.looked = time.Now()
	b.reading.Go(func() {
		defer b.mu.Unlock()
		err := b.load()
		switch {
		case err == nil:
			b.problem = ""
		case err.Error() != b.problem:
			b.problem = err.Error()
			b.log.Warn("file cannot be read again, its last good content stays in use", "error", b.problem)
		}
	})
}

// load reads the file if it is not the one that was read last.
func (b *csvBackend) load() error {
	file, err := os.Open(b.Path)
	if err != nil {
		return fmt.Errorf("its file cannot be read: %w", withoutPath(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("its file cannot be read: %w", withoutPath(err))
	}
	is := stamp{info.ModTime(), info.Size()}
	if b.seen == is {
		return b.damage
	}
	t, err := b.read(file)
	b.seen, b.damage = is, err
	if err != nil {
		return err
	}
	if old := b.table.Swap(&t); old != nil {
		b.log.Info("file read again", "people", len(t))
	}
	return nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func (b *csvBackend) read(from io.Reader) (table, error) {
	in := bufio.NewReader(from)
	if start, _ := in.Peek(len(byteOrderMark)); bytes.Equal(start, byteOrderMark) {
		_, _ = in.Discard(len(byteOrderMark))
	}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, csvError(err)
	}
	header = slices.Clone(header)
	column := func(name string) (int, error) {
		i := slices.Index(header, name)
		if i < 0 {
			// The first line may be a person, if somebody forgot the names.
			near := ""
			if s := eval.Suggest(name, header); s != "" {
				near = fmt.Sprintf("; did you mean %q", s)
			}
			return 0, fmt.Errorf("its file has no column %q in its first line, which names the columns%s", name, near)
		}
		return i, nil
	}
	key, err := column(b.Key)
	if err != nil {
		return nil, err
	}
	columns := make([]int, len(b.fields))
	for i, f := range b.fields {
		if columns[i], err = column(f.From); err != nil {
			return nil, err
		}
	}
	t := table{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		row := make([]cty.Value, len(b.fields))
		for i, f := range b.fields {
			text := strings.Clone(record[columns[i]]) // a part would hold on to the whole line
			if text == "" {
				row[i] = cty.NullVal(f.Type)
				continue
			}
			if row[i], err = convertTo(f.Type, text); err != nil {
				line, _ := r.FieldPos(columns[i])
				return nil, fmt.Errorf("its file has in line %d no %s in the column %q", line, f.Type.FriendlyName(), f.From)
			}
		}
		id := record[key]
		if before, again := t[id]; again && !slices.EqualFunc(before, row, cty.Value.RawEquals) {
			row = nil
		}
		t[strings.Clone(id)] = row
	}
}

// csvError says where a file is no CSV, and quotes nothing of it.
func csvError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("its file is empty; the first line names the columns")
	}
	if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
		return fmt.Errorf("its file is no CSV in line %d: %w", parse.Line, parse.Err)
	}
	return fmt.Errorf("its file cannot be read: %w", withoutPath(err))
}

func withoutPath(err error) error {
	if outer := (*fs.PathError)(nil); errors.As(err, &outer) {
		return outer.Err
	}
	return err
}
