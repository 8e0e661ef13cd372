// Package file is the plugin that appends records to a file, one JSON line each. It is the target for
// trying things out, for systems that read files, and for an archive of what was propagated.
package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/consentd/consentd/sdk"
)

// Plugin describes the target type file.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "file",
		Version: "1.0.0",
		Doc: "Appends every record to a file as one line of JSON and syncs it to the disk before it counts as delivered. " +
			"The newest line of a key is what holds; a line may come twice with the same `id`.",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"path": {Type: "string", Required: true, Doc: "The file. It is made if it is absent, readable by its owner alone; its folder has to be there."},
		}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"key":    {Type: "string", Required: true, Doc: "Whom or what the line is about. The newest line of a key replaces the older ones."},
			"fields": {Type: "any", Doc: "An object that is written as it is, nulls and false included."},
		}},
		// Batches share one sync; more calls at once would only wait for one another.
		Limits: sdk.Limits{MaxBatch: 256, MaxInFlight: 1},
		New:    newTarget,
	}
}

type target struct {
	path string
	log  hclog.Logger

	mu   sync.Mutex
	file *os.File // nil until the first batch, and after an error
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c struct{ Path string }
	if err := cfg.Decode(&c); err != nil {
		return nil, err
	}
	if c.Path == "" {
		return nil, sdk.InvalidConfig("path", "The path is empty. Write the name of a file, such as \"/var/lib/consentd/out.jsonl\".")
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return nil, err
	}
	return &target{path: path, log: log}, nil
}

// line is what is written of a record, in this order.
type line struct {
	Key        string          `json:"key"`
	Fields     json.RawMessage `json:"fields,omitempty"`
	ID         string          `json:"id"`
	Withdrawal bool            `json:"withdrawal,omitempty"`
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	outcomes := make([]sdk.Outcome, len(records))
	var lines bytes.Buffer
	for i, r := range records {
		outcomes[i] = appendLine(&lines, r)
	}
	if lines.Len() == 0 {
		return outcomes
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	failed := sdk.FromError(ctx.Err())
	if ctx.Err() == nil {
		err := t.write(lines.Bytes())
		if err == nil {
			return outcomes
		}
		failed = outcomeOf(err)
	}
	for i := range outcomes {
		if outcomes[i].Kind == sdk.KindDelivered {
			outcomes[i] = failed
		}
	}
	return outcomes
}

// appendLine writes the line of one record. Its outcome is Delivered if the line gets to the disk.
func appendLine(lines *bytes.Buffer, r sdk.Record) sdk.Outcome {
	var fields struct {
		Key    string
		Fields sdk.Optional[json.RawMessage]
	}
	if err := r.Decode(&fields); err != nil {
		return sdk.Rejected("INVALID_RECORD", "%v", err)
	}
	l := line{Key: fields.Key, ID: r.ID, Withdrawal: r.Withdrawal}
	if f := fields.Fields; f.Present && !f.Null {
		if l.Fields = f.Value; l.Fields[0] != '{' {
			return sdk.Rejected("INVALID_FIELDS", "fields is not an object")
		}
	} else if f.Present {
		l.Fields = json.RawMessage("null")
	}
	encoder := json.NewEncoder(lines) // it ends the line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return sdk.Rejected("INVALID_RECORD", "the record cannot be written as JSON")
	}
	return sdk.Delivered("")
}

// write gets lines to the disk. After an error the file is opened anew for the next ones: what a failed
// sync has left behind can only be known by writing again.
func (t *target) write(lines []byte) error {
	if err := t.open(); err != nil {
		return err
	}
	_, err := t.file.Write(lines)
	if err == nil {
		err = t.file.Sync()
	}
	if err != nil {
		t.file.Close()
		t.file = nil
	}
	return err
}

// open makes sure that t.file is the file that the path names now: it may have been rotated away.
func (t *target) open() error {
	named, err := os.Stat(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !named.Mode().IsRegular() {
		return errNotAFile
	}
	if t.file != nil {
		ours, statErr := t.file.Stat()
		if err == nil && statErr == nil && os.SameFile(named, ours) {
			return nil
		}
		t.file.Close()
		t.file = nil
	}
	file, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	err = t.endTornLine(file)
	if err == nil {
		err = syncFolder(filepath.Dir(t.path))
	}
	if err != nil {
		file.Close()
		return err
	}
	t.file = file
	return nil
}

// endTornLine ends a last line that a crash cut short, so that the next one stands alone. It is ended
// rather than removed: nothing that was in the file is ever taken out of it.
func (t *target) endTornLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	t.log.Warn("ended a last line that was cut short")
	_, err = file.WriteString("\n")
	return err
}

// syncFolder makes a new file's name as lasting as what is in it.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

var errNotAFile = errors.New("not a regular file")

// outcomeOf keeps what went wrong and drops the path. What a person has to mend pauses the target.
func outcomeOf(err error) sdk.Outcome {
	what := err
	var in *fs.PathError
	if errors.As(err, &in) {
		what = fmt.Errorf("%s: %w", in.Op, in.Err)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return sdk.Retry("DISK_FULL", "%v", what)
	case errors.Is(err, errNotAFile), errors.Is(err, syscall.EISDIR):
		return sdk.Unauthorized("NOT_A_FILE", "the path does not name a regular file")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EROFS):
		return sdk.Unauthorized("CANNOT_OPEN", "%v", what)
	default:
		return sdk.Retry("IO", "%v", what)
	}
}

// Check is whether the file can be written, or made if it is not there.
func (t *target) Check(context.Context) sdk.Outcome {
	info, err := os.Stat(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		folder := filepath.Dir(t.path)
		if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
			return outcomeOf(&fs.PathError{Op: "open folder", Path: folder, Err: err})
		}
		return sdk.Delivered("")
	case err != nil:
		return outcomeOf(err)
	case !info.Mode().IsRegular():
		return outcomeOf(errNotAFile)
	}
	file, err := os.OpenFile(t.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return outcomeOf(err)
	}
	file.Close()
	return sdk.Delivered("")
}

func (t *target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}
