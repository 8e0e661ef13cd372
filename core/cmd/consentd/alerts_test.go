package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v4"
)

const (
	rulesDir  = root + "/examples/deploy/prometheus"
	dashboard = root + "/examples/deploy/grafana/consentd.json"
)

// alertRule is one rule of alerts.yaml.
type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	data, err := os.ReadFile(rulesDir + "/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var all []alertRule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 15 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// promtool runs Prometheus' own tool over our files.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing; .ci/run gets it out of Debian's prometheus")
		}
		t.Skip("promtool is missing; it is in Debian's prometheus")
	}
	cmd := exec.Command(path, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestAlertsGoOff has Prometheus itself try each rule when it should go off, and when it should not.
func TestAlertsGoOff(t *testing.T) {
	tests, err := os.ReadFile(rulesDir + "/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range alertRules(t) {
		for _, how := range []string{"goes off", "does not"} {
			if !strings.Contains(string(tests), "name: "+r.Alert+", "+how+"\n") {
				t.Errorf("alerts_test.yaml has no case in which %s %s", r.Alert, how)
			}
		}
	}
	promtool(t, "check", "config", rulesDir+"/prometheus.yaml")
	promtool(t, "test", "rules", rulesDir+"/alerts_test.yaml")
}

// TestAlertsAreInTheRunbook: each alert says how bad it is, what it is about, and leads to its part of the runbook.
func TestAlertsAreInTheRunbook(t *testing.T) {
	page, err := os.ReadFile(root + "/core/docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (Consentd\w+)$`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, m[1])
	}
	about := regexp.MustCompile(`\$labels\.(\w+)`)
	for _, r := range alertRules(t) {
		if !slices.Contains(headings, r.Alert) {
			t.Errorf("core/docs/operating.md has no part ### %s", r.Alert)
		}
		headings = slices.DeleteFunc(headings, func(h string) bool { return h == r.Alert })
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		for _, text := range []string{"summary", "description"} {
			if r.Annotations[text] == "" {
				t.Errorf("%s has no %s", r.Alert, text)
			}
			for _, m := range about.FindAllStringSubmatch(r.Annotations[text], -1) {
				if !slices.Contains([]string{"target", "source", "lookup", "reason", "instance", "block"}, m[1]) {
					t.Errorf("%s: its %s holds the label %s", r.Alert, text, m[1])
				}
			}
		}
		if want := "https://github.com/consentd/consentd/blob/main/core/docs/operating.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, and should be %s", r.Alert, r.Annotations["runbook_url"], want)
		}
	}
	if len(headings) > 0 {
		t.Errorf("core/docs/operating.md has parts for alerts that there are not: %q", headings)
	}
}

// checkNames holds an expression to metrics that a running daemon has.
func checkNames(t *testing.T, where, expr string, live map[string]*dto.MetricFamily) {
	t.Helper()
	for _, name := range regexp.MustCompile(`consentd_\w+`).FindAllString(expr, -1) {
		family := live[name]
		if family == nil {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); cut && live[base] != nil && live[base].GetType() == dto.MetricType_HISTOGRAM {
					family = live[base]
				}
			}
		}
		if family == nil {
			t.Errorf("%s: there is no metric %s", where, name)
			continue
		}
		// The values that are asked for have to be there as well: state="unauthorised" would never match.
		for _, selector := range regexp.MustCompile(name+`{([^}]*)}`).FindAllStringSubmatch(expr, -1) {
			for _, m := range regexp.MustCompile(`(\w+)=~?"([^"]*)"`).FindAllStringSubmatch(selector[1], -1) {
				for _, value := range strings.Split(m[2], "|") {
					if !strings.HasPrefix(value, "$") && !slices.Contains([]string{"instance", "job"}, m[1]) && !hasLabel(family, m[1], value) {
						t.Errorf("%s: %s has no %s=%q", where, name, m[1], value)
					}
				}
			}
		}
	}
}

func hasLabel(f *dto.MetricFamily, name, value string) bool {
	return slices.ContainsFunc(f.Metric, func(m *dto.Metric) bool {
		return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == value })
	})
}

// panel is what the test looks at of a dashboard's.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		RefID      string `json:"refId"`
		Expr       string `json:"expr"`
		Datasource struct{ Type, UID string }
	}
}

// checkDashboard: it can be imported, its panels do not cover each other, and each asks for what there is.
func checkDashboard(t *testing.T, live map[string]*dto.MetricFamily) {
	data, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID           string
		SchemaVersion int
		Panels        []panel
		Templating    struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct {
			List []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 39 || d.UID == "" || len(d.Panels) < 20 || d.Templating.List[0].Type != "datasource" {
		t.Errorf("schema %d, uid %q, %d panels, variables %+v", d.SchemaVersion, d.UID, len(d.Panels), d.Templating.List)
	}
	exprs := map[string]string{}
	for _, v := range d.Templating.List {
		checkNames(t, "variable "+v.Name, v.Definition, live)
	}
	for n, a := range d.Annotations.List {
		exprs[fmt.Sprint("annotation ", n)] = a.Expr
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	first := ""
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the id %d is no id of its own", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: stands at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("%s covers %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if first == "" {
			first = p.Targets[0].Expr
		}
		if p.Description == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: description %q, data source %q, %d queries", p.Title, p.Description, p.Datasource.UID, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.Datasource.UID != "${datasource}" {
				t.Errorf("%s: query %q with the data source %q", p.Title, q.RefID, q.Datasource.UID)
			}
			refs[q.RefID] = true
			exprs[p.Title+" "+q.RefID] = q.Expr
		}
	}
	if !strings.Contains(first, "consentd_oldest_withdrawal_seconds") {
		t.Errorf("what comes first is %s", first)
	}
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for n, where := range slices.Sorted(maps.Keys(exprs)) {
		checkNames(t, where, exprs[where], live)
		rules = append(rules, rule{fmt.Sprint("panel:", n), strings.ReplaceAll(exprs[where], "$__rate_interval", "5m")})
	}
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}
