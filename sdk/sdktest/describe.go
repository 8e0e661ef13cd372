package sdktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// describe: the network is watched where Go's own client and resolver use it, files in the working, the
// home and the temporary folder.
func checkDescribe(s *Suite) error {
	var dialed atomic.Bool
	restore, dir, err := watched(&dialed)
	if err != nil {
		return err
	}
	defer restore()
	var seen []host.Description
	for range 2 {
		about, err := describeOnce(s, dir, &dialed)
		if err != nil {
			return err
		}
		seen = append(seen, about...)
	}
	for _, about := range seen[1:] {
		if !reflect.DeepEqual(about, seen[0]) {
			return errors.New("two descriptions differ: a plugin describes itself with constants, the same in every process")
		}
	}
	return nil
}

func describeOnce(s *Suite, dir string, dialed *atomic.Bool) ([]host.Description, error) {
	w, err := open(s)
	if err != nil {
		return nil, err
	}
	defer w.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var seen []host.Description
	for range 2 {
		s.Plugin()
		about, err := w.client.Describe(ctx)
		if err != nil {
			return nil, broke("Describe", err)
		}
		seen = append(seen, about)
	}
	left, err := listed(dir)
	switch {
	case err != nil:
		return nil, err
	case len(left) > 0:
		return nil, errors.New("a file was written: consentd describes plugins to check a configuration and to print help, so leave files to New or later")
	case dialed.Load() || w.front != nil && w.front.requests.Load() > 0:
		return nil, errors.New("the network was used: consentd describes plugins where there is none, so leave it to New or later")
	}
	return seen, nil
}

// watched moves the process into a folder of its own and sees whether it looks for the network.
func watched(dialed *atomic.Bool) (restore func(), dir string, err error) {
	dir, err = os.MkdirTemp("", "sdktest")
	if err != nil {
		return nil, "", err
	}
	back, err := os.Getwd()
	if err != nil {
		return nil, "", err
	}
	if err := os.Chdir(dir); err != nil {
		return nil, "", err
	}
	var undo []func()
	for _, name := range []string{"TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		value, had := os.LookupEnv(name)
		os.Setenv(name, dir)
		undo = append(undo, func() {
			os.Unsetenv(name)
			if had {
				os.Setenv(name, value)
			}
		})
	}
	transport, resolver := http.DefaultTransport, net.DefaultResolver
	dial := func(context.Context, string, string) (net.Conn, error) {
		dialed.Store(true)
		return nil, errors.New("no network while a plugin describes itself")
	}
	http.DefaultTransport = &http.Transport{DialContext: dial}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: dial}
	return func() {
		http.DefaultTransport, net.DefaultResolver = transport, resolver
		for _, f := range undo {
			f()
		}
		_ = os.Chdir(back) // it was there a moment ago
		os.RemoveAll(dir)
	}, dir, nil
}

// listed is what is in a folder, the kit's own places left out.
func listed(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "sdktest") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

var (
	typeName  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	version   = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	valueType = regexp.MustCompile(`^((list|set|map)\()*(string|number|bool|any)\)*$`)
	secretish = regexp.MustCompile(`(^|_)(secret|password|passphrase|token|api_key|private_key|access_key)$`)
)

func checkSchema(s *Suite) error {
	w, err := open(s)
	if err != nil {
		return err
	}
	defer w.close()
	p := w.plugin
	var wrong []error
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if !typeName.MatchString(p.Type) {
		report("Plugin.Type %q is not lower case letters, digits and underscores: it is written in target blocks", p.Type)
	}
	if !version.MatchString(p.Version) {
		report("Plugin.Version %q is not a semantic version such as 1.4.0", p.Version)
	}
	if strings.TrimSpace(p.Doc) == "" {
		report("Plugin.Doc is empty: say what the target does, for the reference page")
	}
	if p.Limits.MaxBatch < 0 || p.Limits.MaxInFlight < 0 {
		report("Plugin.Limits are negative: zero means that there is none")
	}
	wrong = append(wrong, documented("Config", p.Config)...)
	wrong = append(wrong, documented("Record", p.Record)...)
	fits := func(what string, schema sdk.Schema, fields map[string]any) {
		for _, m := range schema.Mistakes(encode(fields)) {
			report("%s does not fit the plugin's schema: %s %s", what, strings.Join(m.Path, "."), m.Detail)
		}
	}
	fits("Suite.Config", p.Config, w.config)
	for _, allowed := range []bool{true, false} {
		fits(fmt.Sprintf("Suite.Record(%q, %t)", ann, allowed), p.Record, s.Record(ann, allowed))
	}
	if s.Presence != nil {
		four := s.Presence(ann)
		fits("Presence.Set", p.Record, four.Set)
		fits("Presence.Null", p.Record, four.Null)
		fits("Presence.Absent", p.Record, four.Absent)
		fits("Presence.False", p.Record, four.False)
	}
	if s.Rejected != nil {
		fits("Suite.Rejected", p.Record, s.Rejected(ann))
	}
	return errors.Join(wrong...)
}

func documented(at string, s sdk.Schema) []error {
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		a := s.Attributes[name]
		report := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("%s.%s: %s", at, name, fmt.Sprintf(format, args...)))
		}
		if !typeName.MatchString(name) {
			report("a name is lower case letters, digits and underscores")
		}
		if strings.TrimSpace(a.Doc) == "" {
			report("no Doc: write one sentence")
		}
		if !strings.Contains(a.Type, "object(") && !strings.Contains(a.Type, "tuple(") &&
			(!valueType.MatchString(a.Type) || strings.Count(a.Type, "(") != strings.Count(a.Type, ")")) {
			report("Type %q is none: write string, number, bool, any, or list(...), set(...), map(...) of one", a.Type)
		}
		if len(a.Enum) > 0 && a.Type != "string" {
			report("Enum is for strings, and Type is %q", a.Type)
		}
		if a.Required && a.Default != "" {
			report("a Required attribute has no Default")
		}
		if at == "Config" && secretish.MatchString(name) && !a.Sensitive {
			report("by its name it holds a secret: set Sensitive, so that it is never printed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Blocks)) {
		if strings.TrimSpace(s.Blocks[name].Doc) == "" {
			wrong = append(wrong, fmt.Errorf("%s.%s: no Doc: write one sentence", at, name))
		}
		wrong = append(wrong, documented(at+"."+name, s.Blocks[name].Body)...)
	}
	return wrong
}
