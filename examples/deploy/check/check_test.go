package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestManifests(t *testing.T) {
	o, err := decode(read(t, "../kubernetes/consentd.yaml"), read(t, "../kubernetes/servicemonitor.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o.meets(t, true)
	if o.secret == nil || o.budget == nil || o.network == nil || len(o.monitors) != 1 {
		t.Errorf("secret %v, budget %v, network policy %v, monitors %d", o.secret != nil, o.budget != nil, o.network != nil, len(o.monitors))
	}
	for _, path := range []string{"cpm_key", "store_key"} {
		if !strings.Contains(o.config.Data["consentd.hcl"], `file("/run/secrets/consentd/`+path+`")`) {
			t.Errorf("the configuration does not read %s", path)
		}
	}
}

const chart = "../helm/consentd"

// render does what `helm template` does.
func render(values map[string]any) (string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return "", err
	}
	release := common.ReleaseOptions{Name: "consentd", Namespace: "default", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, values, release, common.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) == ".yaml" {
			text.WriteString("\n---\n" + files[name])
		}
	}
	return text.String(), nil
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestChart(t *testing.T) {
	for name, sidecar := range map[string]bool{"sidecar": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			given := values(t, read(t, chart+"/ci/"+name+"-values.yaml"))
			for _, m := range lint.RunAll(chart, given, "default").Messages {
				if m.Severity > support.InfoSev {
					t.Error(m)
				}
			}
			text, err := render(given)
			if err != nil {
				t.Fatal(err)
			}
			o, err := decode(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			o.meets(t, sidecar)
			if guarded := o.budget != nil && o.network != nil && len(o.monitors) == 1; guarded != sidecar {
				t.Errorf("budget %v, network policy %v, monitors %d", o.budget != nil, o.network != nil, len(o.monitors))
			}
		})
	}
}

// TestEveryValue renders what neither of the examples sets.
func TestEveryValue(t *testing.T) {
	given := values(t, read(t, chart+"/ci/sidecar-values.yaml"))
	maps.Copy(given, values(t, `
imagePullSecrets: [{ name: pull }]
volumes: [{ name: app, emptyDir: {} }]
nodeSelector: { disk: local }
tolerations: [{ key: disk, operator: Exists }]
affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } }
startupSeconds: 60
networkPolicy: { egressPorts: [443, 5432] }
`))
	text, err := render(given)
	if err != nil {
		t.Fatal(err)
	}
	o, err := decode(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	o.meets(t, true)
	pod := o.set.Spec.Template.Spec
	if len(pod.ImagePullSecrets) != 1 || len(pod.Volumes) != 4 || pod.NodeSelector["disk"] != "local" || len(pod.Tolerations) != 1 ||
		pod.Affinity == nil || pod.InitContainers[0].StartupProbe.FailureThreshold != 30 || len(o.network.Spec.Egress[1].Ports) != 2 {
		t.Errorf("the pod is\n%s", text)
	}
}

func TestRefused(t *testing.T) {
	for name, bad := range map[string]string{
		"a word it does not know": "replicas: 2",
		"no secret":               `existingSecret: ""`,
		"no configuration":        "config: null",
		"a file consentd ignores": "config: { consentd.yaml: x }",
		"no image":                `image: { repository: "" }`,
		"many writers":            "persistence: { accessMode: ReadWriteMany }",
	} {
		t.Run(name, func(t *testing.T) {
			given := values(t, read(t, chart+"/ci/alone-values.yaml"))
			maps.Copy(given, values(t, bad))
			if _, err := render(given); err == nil || !strings.Contains(err.Error(), "schema") {
				t.Errorf("it says %v", err)
			}
		})
	}
}
