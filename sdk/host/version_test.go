package host

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/internal/wire"
)

// offering makes versions for launch. All are the same service, since what is tried is how one is agreed upon.
func offering(versions ...int) map[int]plugin.PluginSet {
	all := map[int]plugin.PluginSet{}
	for _, v := range versions {
		all[v] = plugin.PluginSet{wire.Name: clientPlugin{}}
	}
	return all
}

// servedDescribed serves what sdk.Serve would.
type servedDescribed struct {
	clientPlugin
}

func (servedDescribed) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	sdk.Register(server, described, hclog.NewNullLogger())
	return nil
}

func servingVersions(versions ...int) *plugin.ServeConfig {
	all := map[int]plugin.PluginSet{}
	for _, v := range versions {
		all[v] = plugin.PluginSet{wire.Name: servedDescribed{}}
	}
	return &plugin.ServeConfig{HandshakeConfig: wire.Handshake, VersionedPlugins: all, GRPCServer: plugin.DefaultGRPCServer}
}

// frozen builds the plugin of the time when version 1 was released.
func frozen(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "v1plugin")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/v1plugin").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return path
}

// Plugins that exist are served by a host that also speaks a later version, and the latest version that both
// speak is the one that is spoken.
func TestVersionsAreAgreedUpon(t *testing.T) {
	v1 := frozen(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const tooNew = "the plugin speaks version 2 of the wire, and this consentd version 1; use a release"
	for _, tc := range []struct {
		name    string
		command []string
		offered []int
		agreed  int
		says    string
	}{
		{"frozen, today's host", []string{v1}, []int{1}, 1, ""},
		{"frozen, tomorrow's host", []string{v1}, []int{1, 2}, 1, ""},
		{"frozen, the day after", []string{v1}, []int{2, 3}, 0, "the plugin speaks version 1 of the wire, and this consentd version 2 and 3;"},
		{"sdk, tomorrow's host", []string{self, "be-a-plugin"}, []int{1, 2}, 1, ""},
		{"sdk, the day after", []string{self, "be-a-plugin"}, []int{2, 3}, 0, "the plugin speaks version 1 of the wire, and this consentd version 2 and 3;"},
		{"tomorrow's plugin, today's host", []string{self, "be-version-2"}, []int{1}, 0, tooNew},
		{"both, today's host", []string{self, "be-versions-1-and-2"}, []int{1}, 1, ""},
		{"both, tomorrow's host", []string{self, "be-versions-1-and-2"}, []int{1, 2}, 2, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(tc.command[0], tc.command[1:]...)
			cmd.Env = []string{"PLUGIN_UNIX_SOCKET_DIR=" + dir}
			process, client, err := launch(&plugin.ClientConfig{Cmd: cmd, SkipHostEnv: true, Logger: hclog.NewNullLogger()}, offering(tc.offered...))
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer process.Kill()
			if got := process.NegotiatedVersion(); got != tc.agreed {
				t.Errorf("version %d, want %d", got, tc.agreed)
			}
			if _, err := client.Describe(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if got := offeredByLaunch(t); !slices.Equal(got, []string{"1"}) {
		t.Errorf("Launch offers the versions %q", got)
	}
}

// offeredByLaunch is what the environment of a plugin says.
func offeredByLaunch(t *testing.T) []string {
	cmd := exec.Command("/bin/false")
	if _, _, err := Launch(&plugin.ClientConfig{Cmd: cmd, SkipHostEnv: true, Logger: hclog.NewNullLogger()}); err == nil {
		t.Error("no error")
	}
	for _, v := range cmd.Env {
		if versions, ok := strings.CutPrefix(v, "PLUGIN_PROTOCOL_VERSIONS="); ok {
			return strings.Split(versions, ",")
		}
	}
	return nil
}

// A plugin of version 1 is served in full by a host that also speaks a later one.
func TestFrozenPlugin(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(frozen(t))
	cmd.Env = []string{"PLUGIN_UNIX_SOCKET_DIR=" + dir}
	process, client, err := launch(&plugin.ClientConfig{Cmd: cmd, SkipHostEnv: true, Logger: hclog.NewNullLogger()}, offering(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	about, err := client.Describe(t.Context())
	if err != nil || about.Type != "v1" || !about.Config.Attributes["path"].Required || about.Record.Attributes["allowed"].Type != "bool" ||
		about.Limits != (sdk.Limits{MaxBatch: 10, MaxInFlight: 1}) {
		t.Errorf("%+v, %v", about, err)
	}
	_, mistakes, err := client.Configure(t.Context(), sdk.Config{Fields: json.RawMessage(`{"path":"x"}`)})
	if err != nil || len(mistakes) != 1 || !slices.Equal(mistakes[0].Path, []string{"path"}) || mistakes[0].Summary != "Not a full path" {
		t.Errorf("%+v, %v", mistakes, err)
	}
	path := filepath.Join(dir, "out")
	can, mistakes, err := client.Configure(t.Context(), sdk.Config{Fields: json.RawMessage(`{"path":"` + path + `"}`)})
	if err != nil || len(mistakes) > 0 || can != (Capabilities{Check: true, Erase: true}) {
		t.Errorf("%+v, %+v, %v", can, mistakes, err)
	}
	if outcome, err := client.Check(t.Context()); err != nil || outcome.Kind != sdk.KindDelivered {
		t.Errorf("%+v, %v", outcome, err)
	}
	records := []sdk.Record{{ID: "1", Fields: json.RawMessage(`{"key":"a"}`)}, {ID: "2", Withdrawal: true, Fields: json.RawMessage(`{"key":"b"}`)}}
	for _, call := range []func() ([]sdk.Outcome, error){
		func() ([]sdk.Outcome, error) { return client.Deliver(t.Context(), records) },
		func() ([]sdk.Outcome, error) { return client.Erase(t.Context(), records[:1]) },
	} {
		outcomes, err := call()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			if o != sdk.Delivered("line") {
				t.Errorf("outcome %+v", o)
			}
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "deliver false {\"key\":\"a\"}\ndeliver true {\"key\":\"b\"}\nerase false {\"key\":\"a\"}\n" {
		t.Errorf("wrote %q, %v", text, err)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	<-client.Broken()
}

// What is frozen has nothing of ours in it that could change.
func TestFrozenPluginStandsAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./testdata/v1plugin").Output()
	if err != nil {
		t.Fatal(err)
	}
	const ours = "github.com/consentd/consentd/"
	for _, dep := range strings.Fields(string(out)) {
		if strings.HasPrefix(dep, ours) && !strings.HasPrefix(dep, ours+"sdk/host/testdata/v1plugin") {
			t.Errorf("it imports %s", dep)
		}
	}
}
