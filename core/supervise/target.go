package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// ErrBroken is wrapped by every error of a call that a plugin did not answer for a reason of its own:
// it ended, or it failed the call. The records of the call may or may not have been delivered.
var ErrBroken = errors.New("plugin broke")

// ErrDown is the ErrBroken of a call that never reached a plugin, because none was running. No record
// is to blame for it.
var ErrDown = fmt.Errorf("%w: not running", ErrBroken)

// Spec says what to supervise.
type Spec struct {
	// Name is the target block's.
	Name    string
	Program Program
	// Config is one JSON object in the shape of the plugin's configuration schema.
	Config json.RawMessage
	// RuntimeDir is a folder for sockets, made and swept by Sweep.
	RuntimeDir string
	Log        hclog.Logger

	pace pace // for tests
}

const (
	// configureTime is how long a plugin may take to describe itself and to make its target.
	configureTime = 30 * time.Second
	// closeTime is how long a target may take to close.
	closeTime = 10 * time.Second
	// exitTime is how long a process whose connection is gone may take to exit by itself, so that its
	// own exit status is seen.
	exitTime = time.Second
)

// Mistakes are what the plugin says is wrong in its configuration. It is an error of Start.
type Mistakes []sdk.ConfigError

func (m Mistakes) Error() string {
	texts := make([]string, len(m))
	for i := range m {
		texts[i] = m[i].Error()
	}
	return strings.Join(texts, "; ")
}

// Target is one target block and the process that serves it, launched again with back-off whenever it
// ends. Its methods are safe for concurrent use.
type Target struct {
	spec   Spec
	log    hclog.Logger
	cancel context.CancelFunc
	done   chan struct{} // closed when watch has returned
	closed sync.Once

	mu     sync.Mutex
	now    *instance // nil while down
	about  host.Description
	can    host.Capabilities
	status Status
	ready  chan struct{} // closed while running
}

// Start launches the process and makes the target. An error means that there is no target: Mistakes
// when the plugin refuses its configuration, anything else when it could not be launched.
func Start(ctx context.Context, spec Spec) (*Target, error) {
	if spec.pace == (pace{}) {
		spec.pace = pace{initial: time.Second, max: time.Minute, well: time.Minute}
	}
	t := &Target{
		spec:  spec,
		log:   spec.Log.With("target", spec.Name),
		done:  make(chan struct{}),
		ready: make(chan struct{}),
	}
	inst, err := t.launch(ctx)
	if err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	go t.watch(watching, inst)
	return t, nil
}

// Describe launches the program, asks it what it is and ends it.
func Describe(ctx context.Context, program Program, runtimeDir string, log hclog.Logger) (host.Description, error) {
	inst, err := launch(ctx, program, runtimeDir, log)
	if err != nil {
		return host.Description{}, err
	}
	defer inst.kill()
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	return inst.describe(ctx, program)
}

// describe asks what the plugin is and holds it to the type it was launched for.
func (i *instance) describe(ctx context.Context, program Program) (host.Description, error) {
	about, err := i.client.Describe(ctx)
	if err != nil {
		return about, fmt.Errorf("describe plugin %s: %w", program.Type, i.failure(err))
	}
	if about.Type != program.Type {
		return about, fmt.Errorf("describe plugin %s: it says that its type is %q", program.Type, about.Type)
	}
	return about, nil
}

// failure is the error of a call, wrapped in ErrBroken. It gives away the status's code alone, because
// a plugin's own text may hold anything, and how the process ended if it did.
func (i *instance) failure(err error) error {
	if i.gone(err) {
		select {
		case <-i.exited():
			return fmt.Errorf("%w: it ended with %s", ErrBroken, i.process.exit())
		case <-time.After(exitTime):
			// It lives and cannot be reached, which nothing but a new process mends.
			i.process.kill()
		}
	}
	return fmt.Errorf("%w: %s", ErrBroken, status.Code(err))
}

// gone is whether a call failed because the process has ended or cannot be reached any more.
func (i *instance) gone(err error) bool {
	select {
	case <-i.exited():
		return true
	default:
		return status.Code(err) == codes.Unavailable
	}
}

// running is the instance to call. Its calls.Done has to be called after that.
func (t *Target) running() (*instance, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil || t.status.State != Running {
		return nil, ErrDown
	}
	t.now.calls.Add(1)
	return t.now, nil
}

// Deliver returns one outcome a record, in the records' order. When ctx ends first, the plugin gets a
// few seconds more to say what it knows. If it still does not answer after a deadline, it hangs, which nothing
// but a new process mends: it is killed, and broke with these records in flight. If the call was cut short,
// every record is Retry instead. The error is always an ErrBroken, and of the kind ErrDown when the plugin
// never saw the records.
func (t *Target) Deliver(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
	return t.each(ctx, records, (*host.Client).Deliver)
}

// Erase returns one outcome a record, as Deliver does. It is for targets that can.
func (t *Target) Erase(ctx context.Context, records []sdk.Record) ([]sdk.Outcome, error) {
	return t.each(ctx, records, (*host.Client).Erase)
}

func (t *Target) each(ctx context.Context, records []sdk.Record, call func(*host.Client, context.Context, []sdk.Record) ([]sdk.Outcome, error)) ([]sdk.Outcome, error) {
	inst, err := t.running()
	if err != nil {
		return nil, err
	}
	defer inst.calls.Done()
	outcomes, err := call(inst.client, ctx, records)
	if err == nil {
		return outcomes, nil
	}
	late := ctx.Err()
	if errors.Is(late, context.DeadlineExceeded) && status.Code(err) == codes.DeadlineExceeded {
		t.down(inst)
		inst.process.killFor("it hung: a call did not end when its time was up")
		return nil, fmt.Errorf("%w: it hung, and was ended", ErrBroken)
	}
	if late != nil && !inst.gone(err) {
		outcomes = make([]sdk.Outcome, len(records))
		for i := range outcomes {
			outcomes[i] = tooLate(late)
		}
		return outcomes, nil
	}
	return nil, t.broke(inst, err)
}

// Read asks what the vendor holds about the people of some records: one reading a record, in the records' order. The
// error is an ErrBroken, or errors.ErrUnsupported when the plugin cannot read.
func (t *Target) Read(ctx context.Context, records []sdk.Record) ([]sdk.Reading, error) {
	inst, err := t.running()
	if err != nil {
		return nil, err
	}
	defer inst.calls.Done()
	if !t.Capabilities().Read {
		return nil, fmt.Errorf("read target %s: %w", t.spec.Name, errors.ErrUnsupported)
	}
	readings, err := inst.client.Read(ctx, records)
	if err == nil {
		return readings, nil
	}
	if late := ctx.Err(); late != nil && !inst.gone(err) {
		readings = make([]sdk.Reading, len(records))
		for i := range readings {
			readings[i].Outcome = tooLate(late)
		}
		return readings, nil
	}
	return nil, t.broke(inst, err)
}

// Check asks whether the target's credentials work. The error is an ErrBroken, or errors.ErrUnsupported
// when the plugin has no check.
func (t *Target) Check(ctx context.Context) (sdk.Outcome, error) {
	inst, err := t.running()
	if err != nil {
		return sdk.Outcome{}, err
	}
	defer inst.calls.Done()
	if !t.Capabilities().Check {
		return sdk.Outcome{}, fmt.Errorf("check target %s: %w", t.spec.Name, errors.ErrUnsupported)
	}
	outcome, err := inst.client.Check(ctx)
	if err == nil {
		return outcome, nil
	}
	if late := ctx.Err(); late != nil && !inst.gone(err) {
		return tooLate(late), nil
	}
	return sdk.Outcome{}, t.broke(inst, err)
}

// tooLate is the outcome of a record whose call was given up.
func tooLate(err error) sdk.Outcome {
	if errors.Is(err, context.Canceled) {
		return sdk.Retry("CANCELED", "the call was cut short")
	}
	return sdk.Retry("TIMEOUT", "the plugin did not answer in time")
}

// broke is the error of a call that failed. A connection that is gone takes the instance out of use at
// once, so that later calls do not run into it.
func (t *Target) broke(inst *instance, err error) error {
	if inst.gone(err) {
		t.down(inst)
	}
	return inst.failure(err)
}

// Description is what the running plugin, or the one that ran last, says of itself.
func (t *Target) Description() host.Description {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.about
}

// Capabilities are the optional verbs of the running target, or of the one that ran last.
func (t *Target) Capabilities() host.Capabilities {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.can
}

// Ready is closed while the plugin runs. After an ErrDown it tells when to try again; a target that was
// closed is never ready.
func (t *Target) Ready() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ready
}

// Close lets the target finish the calls under way and free what it holds, for as long as ctx and ten
// seconds allow, and then ends the process and its whole group. It always leaves nothing behind; the
// error says that the target could not close in order.
func (t *Target) Close(ctx context.Context) error {
	var err error
	t.closed.Do(func() {
		t.mu.Lock()
		t.status.State = Closed
		t.mu.Unlock()
		t.cancel()
		<-t.done
		t.mu.Lock()
		inst := t.now
		t.now, t.status.Pid, t.status.Since, t.status.NextLaunch = nil, 0, time.Now(), time.Time{}
		t.status.State = Closed
		t.ready = make(chan struct{})
		t.mu.Unlock()
		if inst == nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, closeTime)
		defer cancel()
		if err = inst.close(ctx); err != nil {
			err = fmt.Errorf("close target %s: %w: %s", t.spec.Name, ErrBroken, status.Code(err))
		}
	})
	return err
}
