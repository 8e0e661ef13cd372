package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The nearest that Benthos has: it acknowledges what is in its SQLite buffer, and posts from there. 4.27.0 is the last
// of its releases that has this buffer under an open-source licence.
const (
	benthosVersion = "github.com/benthosdev/benthos/v4@v4.27.0"

	benthosMain = `package main

import (
	"context"

	"github.com/benthosdev/benthos/v4/public/service"

	_ "github.com/benthosdev/benthos/v4/public/components/io"
	_ "github.com/benthosdev/benthos/v4/public/components/pure"
	_ "github.com/benthosdev/benthos/v4/public/components/sql/base"
	_ "modernc.org/sqlite"
)

func main() { service.RunCLI(context.Background()) }
`

	benthosConfig = `
http:
  enabled: false
logger:
  level: ERROR
input:
  http_server:
    address: %q
    path: /webhooks/dataguard
buffer:
  sqlite:
    path: %q
output:
  http_client:
    url: %q
    verb: POST
    max_in_flight: 64
`
)

// benthos measures the way of an update beside that through Benthos, which is built for it. It knows no citizens and no
// rules, so it does less.
func (o options) benthos(ctx context.Context, round int) error {
	binary, err := o.buildBenthos(ctx)
	if err != nil {
		return err
	}
	s, err := newSink()
	if err != nil {
		return err
	}
	defer s.listener.Close()
	url := "http://" + s.listener.Addr().String()
	theirs, err := o.throughBenthos(ctx, round, binary, s)
	if err != nil {
		return fmt.Errorf("through Benthos: %w", err)
	}
	print(round, "Benthos, SQLite buffer", theirs)
	calls, err := o.whole(ctx, fmt.Sprint("beside", round), fmt.Sprintf(webhookTarget, "sink", url))
	if err != nil {
		return err
	}
	print(round, "acked and delivered, a call each", calls)
	batches, err := o.whole(ctx, fmt.Sprint("batched", round), fmt.Sprintf(fileTarget, "sink", filepath.Join(o.dir, fmt.Sprint("batched-sink", round))))
	if err != nil {
		return err
	}
	print(round, "acked and delivered, in batches", batches)
	fmt.Printf("%5d  ratios to Benthos, acks: %.1f a call each, %.1f in batches; deliveries: %.1f, %.1f\n", round,
		calls.acks/theirs.acks, batches.acks/theirs.acks, calls.deliveries/theirs.deliveries, batches.deliveries/theirs.deliveries)
	return nil
}

// buildBenthos builds it once, from the module proxy.
func (o options) buildBenthos(ctx context.Context) (binary string, err error) {
	dir := filepath.Join(o.dir, "benthos")
	binary = filepath.Join(dir, "benthos")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "main.go"), []byte(benthosMain), 0o600)); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"mod", "init", "bench"}, {"get", benthosVersion}, {"mod", "tidy"}, {"build", "-o", binary, "."}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", missing{fmt.Errorf("go %v: %w\n%s", args, err, out)}
		}
	}
	return binary, nil
}

func (o options) throughBenthos(ctx context.Context, round int, binary string, s *sink) (result, error) {
	address, err := freeAddress()
	if err != nil {
		return result{}, err
	}
	dir := filepath.Join(o.dir, fmt.Sprint("through-benthos", round))
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(benthosConfig, address, filepath.Join(dir, "buffer.db"), "http://"+s.listener.Addr().String())
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return result{}, err
	}
	before := s.taken.Load()
	r, err := o.through(exec.CommandContext(ctx, binary, "-c", config), address)
	r.deliveries = float64(s.taken.Load()-before) / o.time.Seconds()
	return r, err
}
