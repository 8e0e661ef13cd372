package fault

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// How much is tried. The short form is for every build, the long one for a night.
var (
	long        = flag.Bool("long", false, "the long form: as many faults as a night allows, unless the flags below say how many")
	kills       = flag.Int("kills", 0, "how often to kill the daemon and its plugins (0: 12, long: 1000)")
	cuts        = flag.Int("cuts", 0, "how often to cut the power (0: 12, long: 1000)")
	calls       = flag.Int("calls", 0, "how many system calls of each kind to let fail (0: a handful, long: 200)")
	older       = flag.String("older", "", "let every second replica be this consentd, as in the middle of an upgrade")
	binaryFlag  = flag.String("binary", "", "test this consentd and build none")
	backlog     = flag.Int("backlog", 0, "how many citizens to have pending (0: 5,000, long: 1,000,000)")
	seed        = flag.Uint64("seed", 0, "of everything random; 0 takes one from the clock. A test names the one it had")
	mutantsFlag = flag.Bool("mutants", false, "break the product's source in the ways of mutants_test.go and see that the suite notices")
)

// binary is consentd as a user gets it.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "consentd-fault-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary, err = filepath.Abs(*binaryFlag); *binaryFlag == "" {
		binary = filepath.Join(dir, "consentd")
		err = build(binary, "../..")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// build builds the daemon out of a source tree.
func build(binary, tree string) error {
	cmd := exec.Command("go", "build", "-o", binary, "./core/cmd/consentd")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build consentd: %w\n%s", err, out)
	}
	return nil
}

// howOften is the flag if it is set, else what the form of the run asks for.
func howOften(set, short, inLong int) int {
	switch {
	case set > 0:
		return set
	case *long:
		return inLong
	}
	return short
}

// needs skips a test where the machine lacks something; in CI that is a failure.
func needs(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s: %v", what, err)
	default:
		t.Skipf("%s: %v", what, err)
	}
}

// look looks at what the binary is built of. go test takes a result out of its cache unless a file has changed
// that a test looked at while it ran, and it does not see what go build reads.
var look = sync.OnceFunc(func() {
	for _, part := range []string{"core", "sdk", "plugins"} {
		_ = filepath.WalkDir(filepath.Join("../..", part), func(path string, _ os.DirEntry, _ error) error {
			_, _ = os.Stat(path)
			return nil
		})
	}
})
