package salesforce

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

// Deliver comes back when its context ends, whatever Salesforce does, with an outcome for all.
func TestCancel(t *testing.T) {
	org := newOrg(t)
	arrived := make(chan struct{}, 10)
	release := make(chan struct{})
	url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, upsertPath) {
			arrived <- struct{}{}
			<-release
		}
		org.ServeHTTP(w, r)
	})
	defer close(release)
	target := mustTarget(t, clientCredentials(url))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []sdk.Outcome)
	go func() {
		done <- target.Deliver(ctx, []sdk.Record{contact(t, "a", nil), contact(t, "A", nil),
			plugintest.Record(t, attrs{"object": "Lead", "external_id_field": "CPM_Id__c", "external_id": "b"})})
	}()
	<-arrived
	cancel()
	select {
	case outcomes := <-done:
		expectAll(t, outcomes, sdk.KindRetry, "CANCELED")
	case <-time.After(20 * time.Second):
		t.Fatal("Deliver did not come back")
	}
}

func TestConcurrentDeliver(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for round := range 5 {
				var records []sdk.Record
				for i := range 20 {
					records = append(records, contact(t, fmt.Sprintf("w%d-%d", w, i), attrs{"Description": fmt.Sprint(round)}))
				}
				expectAll(t, target.Deliver(t.Context(), records), sdk.KindDelivered, "")
				if w == 0 && round == 2 {
					org.ExpireSessions()
				}
			}
		})
	}
	workers.Wait()
	for w := range 8 {
		for i := range 20 {
			if row, ok := org.Record("Contact", "CPM_Id__c", fmt.Sprintf("w%d-%d", w, i)); !ok || row["Description"] != "4" {
				t.Errorf("w%d-%d is %v", w, i, row)
			}
		}
	}
}
