package main

import (
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestKubernetesConfig validates the configuration that the manifests have, with the secrets that they have. What else
// is in them is checked in examples/deploy/check.
func TestKubernetesConfig(t *testing.T) {
	look()
	dir := t.TempDir()
	var config string
	secrets := map[string]string{}
	for doc := range strings.SplitSeq(readFile(t, root+"/examples/deploy/kubernetes/consentd.yaml"), "\n---\n") {
		var o struct {
			Data       map[string]string
			StringData map[string]string `yaml:"stringData"`
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		config += o.Data["consentd.hcl"]
		for name, secret := range o.StringData {
			secrets[name] = secret
			put(t, dir, "secrets/"+name, secret, 0o600)
		}
	}
	put(t, dir, "config/consentd.hcl", strings.NewReplacer("/run/secrets/consentd", dir+"/secrets", "/var/lib/consentd", dir).Replace(config), 0o600)
	validate := exec.Command(binary, "validate", "--offline", "--config", dir+"/config")
	validate.Env = []string{"CONSENTD_ADMIN_TOKEN=" + secrets["admin_token"], "PATH=/nowhere"}
	if out, err := validate.CombinedOutput(); err != nil || config == "" || len(secrets) != 3 {
		t.Errorf("%d secrets, %v\n%s", len(secrets), err, out)
	}
}
