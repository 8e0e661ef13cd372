package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const metricsPage = root + "/core/docs/metrics.md"

// selfSigned writes a certificate and its key beside the configuration.
func (i *instance) selfSigned() {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		i.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(i.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
}

// everything is a daemon that has one of each, after it has delivered something.
func everything(t *testing.T) *instance {
	t.Helper()
	s, refuses, picky := newSink(t), newSink(t), newSink(t)
	refuses.answer = func(taken) int { return http.StatusUnauthorized }
	picky.answer = func(taken) int { return http.StatusUnprocessableEntity }
	i := configure(t, "")
	i.selfSigned()
	if err := os.WriteFile(i.path("people.csv"), []byte("id,mail\nzuleika@example.org,zuleika@csv.example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := strings.Replace(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")), "listener {", "listener {\n  tls {\n    cert_file = \"tls.crt\"\n    key_file  = \"tls.key\"\n  }\n", 1)
	i.write(base + apiKeySource + `
source "renewed" {
  path        = "/webhooks/renewed"
  update_type = "effective-permission"

  api {
    base_url       = "http://127.0.0.1:1"
    api_key        = "nobody-is-asked"
    application_id = "acme"
    heartbeat      = "1h"
  }

  auth "oauth2" {
    refresh_tokens = ["a-refresh-token-that-is-long-enough"]
  }
}

lookup "csv" "people" {
  path   = "people.csv"
  key    = "id"
  match  = citizen.external_ref
  fields = { email = "mail" }
}

encryption {
  keys = ["` + strings.Repeat("0f", 32) + `"]
}
` + s.reading("crm", "lookup.people.email") + refuses.config("refuses", "") + picky.config("picky", ""))
	i.start()
	https := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: patience}
	defer https.CloseIdleConnections()
	for _, body := range []string{string(update("zuleika", "GRANTED", 1)), string(update("zuleika", "DENIED", 2)), "not understood"} {
		req, err := http.NewRequest(http.MethodPost, "https://"+i.listener+"/webhooks/dataguard", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-Key", "secret-key")
		res, err := https.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Fatalf("answer %d", res.StatusCode)
		}
	}
	i.settled("crm")
	return i
}

// families are all metrics of a daemon that are ours.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "consentd_") })
	return all
}

// row is a metric as the reference has it.
type row struct{ kind, labels, meaning string }

func rowOf(f *dto.MetricFamily) row {
	labels := map[string]bool{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			labels["`"+l.GetName()+"`"] = true
		}
	}
	return row{strings.ToLower(f.GetType().String()), strings.Join(slices.Sorted(maps.Keys(labels)), ", "), f.GetHelp()}
}

// TestObservability holds what is written for whoever is on call to what a daemon that runs really tells.
func TestObservability(t *testing.T) {
	i := everything(t)
	var text string
	for _, figure := range []string{
		`consentd_quarantined{source="dataguard"} 1`,
		`consentd_quarantined{source="renewed"} 0`,
		`consentd_target_state{state="unauthorized",target="refuses"} 1`,
		`consentd_target_state{state="running",target="refuses"} 0`,
		`consentd_target_state{state="running",target="crm"} 1`,
		`consentd_target_retry_timestamp_seconds{target="refuses"} 1.`,
		`consentd_target_retry_timestamp_seconds{target="crm"} 0`,
		`consentd_dead_letters{reason="rejected",target="picky"} 1`,
		`consentd_dead_letters{reason="rejected",target="refuses"} 0`,
		`consentd_oldest_delivery_seconds{target="picky"} 0`,
		`consentd_withdrawal_slo_seconds 60`,
		`consentd_store_keys 1`,
		`consentd_ledger_imbalance{target="crm"} 0`,
		`consentd_plugin_processes{target="crm"} 1`,
		`consentd_withdrawal_seconds_count{target="crm"} 1`,
	} {
		eventually(t, figure, func() bool {
			text = i.metrics()
			return strings.Contains(text, "\n"+figure)
		})
	}
	for _, never := range []string{`consentd_oldest_delivery_seconds{target="refuses"} 0`, `consentd_plugin_memory_bytes{target="crm"} 0`} {
		if strings.Contains(text, "\n"+never+"\n") {
			t.Error(never)
		}
	}
	live := families(t, text)
	t.Run("naming", func(t *testing.T) {
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "consentd_") {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
	})
	t.Run("nobody is named", func(t *testing.T) {
		for _, value := range []string{"zuleika", "example.org", "secret-key", "a-refresh-token"} {
			if strings.Contains(text, value) {
				t.Errorf("%q is among the metrics", value)
			}
		}
	})
	t.Run("reference", func(t *testing.T) { checkReference(t, live) })
	t.Run("labels", func(t *testing.T) { checkLabels(t, live) })
	t.Run("alerts", func(t *testing.T) {
		known := maps.Clone(live)
		for _, name := range replicaMetrics {
			known[name] = &dto.MetricFamily{}
		}
		for _, r := range alertRules(t) {
			checkNames(t, r.Alert, r.Expr, known)
		}
	})
	t.Run("dashboard", func(t *testing.T) { checkDashboard(t, live) })
}

// checkReference holds core/docs/metrics.md to what there is: name, type, labels and meaning, each way.
func checkReference(t *testing.T, live map[string]*dto.MetricFamily) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]row{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if name := strings.Trim(strings.TrimSpace(cells[0]), "`"); strings.HasPrefix(line, "| `consentd_") && len(cells) == 5 {
			if strings.TrimSpace(cells[4]) == "" {
				t.Errorf("%s: nothing is said of what to do", name)
			}
			described[name] = row{cells[1], strings.TrimSpace(cells[2]), cells[3]}
		} else if strings.HasPrefix(line, "| `consentd_") {
			t.Errorf("%d cells in %s", len(cells), line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		if want := rowOf(live[name]); described[name] != want {
			t.Errorf("core/docs/metrics.md should have\n| `%s` | %s | %s | %s | ... |\nand has %+v", name, want.kind, want.labels, want.meaning, described[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if live[name] == nil {
			t.Errorf("core/docs/metrics.md has %s, which is no metric", name)
		}
	}
}

// configured are the labels whose values are names out of the configuration, or none's business.
var configured = []string{"target", "source", "lookup", "hash", "version", "goversion"}

// checkLabels holds the page's lists of values to those that there are.
func checkLabels(t *testing.T, live map[string]*dto.MetricFamily) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	listed, there := map[string][]string{}, map[string][]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | "); len(cells) == 3 && strings.HasPrefix(cells[1], "`consentd_") {
			of := strings.Trim(cells[1], "`") + " " + strings.Trim(cells[0], "`")
			listed[of] = slices.Sorted(slices.Values(strings.Split(strings.ReplaceAll(cells[2], "`", ""), ", ")))
		}
	}
	for name, f := range live {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				of := name + " " + l.GetName()
				if !slices.Contains(configured, l.GetName()) && !slices.Contains(there[of], l.GetValue()) {
					there[of] = append(there[of], l.GetValue())
				}
			}
		}
	}
	// Its admin address has no certificate. In package daemon's test it has.
	const block = "consentd_listener_certificate_expiry_timestamp_seconds block"
	there[block] = append(there[block], "admin")
	for _, of := range slices.Sorted(maps.Keys(there)) {
		if values := slices.Sorted(slices.Values(there[of])); !slices.Equal(values, listed[of]) {
			t.Errorf("%s: the page lists %q, there are %q", of, listed[of], values)
		}
	}
}
