// Package dataverse is the target type of Microsoft Dataverse, which holds the data of Dynamics 365:
// contacts, leads or any other table by alternate key, and the consents of Customer Insights - Journeys.
// Its simulator is package sim. It is apart from the other plugins because each vendor's API, errors and
// words are its own.
package dataverse

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxRecords is how many records one call carries. A batch may hold 1,000 operations, but one user has
	// 20 minutes of execution time in five minutes, and a long batch holds its caller up.
	maxRecords = 100
	// maxInFlight keeps far below the 52 requests that a user may have at once on a web server, which are
	// shared with everything else that signs in as the same user.
	maxInFlight = 8
	// A web server takes 6,000 requests of a user in any five minutes; a batch counts as one.
	requestsPerSecond, requestBurst = 19, 300
)

// Plugin is the target type "dataverse".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "dataverse",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		Limits:  sdk.Limits{MaxBatch: maxRecords, MaxInFlight: maxInFlight},
		New:     newTarget,
	}
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	s, err := readSettings(cfg)
	if err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL: s.base,
		Auth:    httpclient.SignIn(httpclient.OAuth2{TokenURL: s.tokenURL, Grant: s.grant}),
		Header: http.Header{
			"Odata-Version":    {"4.0"},
			"Odata-Maxversion": {"4.0"},
			"If-None-Match":    {"null"}, // asked for on every request, so that nothing is answered from a cache
		},
		MaxInFlight: maxInFlight,
		Limiter:     rate.NewLimiter(rate.Every(time.Second/requestsPerSecond), requestBurst),
		Classify:    classify,
		Log:         log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{client: client, root: "/api/data/" + s.version, resubscribe: s.resubscribe}, nil
}

// target is one Dataverse environment. It implements all of the optional verbs.
type target struct {
	client      *httpclient.Client
	root        string // path of the Web API in the configured version
	resubscribe subscriber.Resubscribe
}

func (t *target) Close() error {
	t.client.Close()
	return nil
}
