package config

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/sdk/httpclient"
)

// API is the sender's API as a source uses it.
type API struct {
	cpm.Config
	// RepairEvery is how often what changed at the sender is read; 0: only when there is a reason to.
	RepairEvery time.Duration
	// Heartbeat is how long the source may be silent before that is a reason; 0: for ever.
	Heartbeat time.Duration
	// Overlap is how far before the last repair the next one begins to read.
	Overlap time.Duration
	// ConfirmAfter is how old a held grant is before the API is asked about it.
	ConfirmAfter time.Duration
	// Subscription is what the source is called at the sender, and the address that it posts to; empty: not known.
	SubscriptionName, SubscriptionURL string
	// RefreshURL is where the sender reaches the token endpoint, if that does not follow from the address.
	RefreshURL string
	// Range is of the block's header.
	Range hcl.Range

	secrets []byte
}

// Reconcile says how what is stored is compared with the sender and with the targets.
type Reconcile struct {
	Every  time.Duration // 0: only on demand
	Repair string        // none, withdrawals, all
	// EraseGone is whether citizens whom the sender does not know any more are erased; no more than MaxErasures at once.
	EraseGone   bool
	MaxErasures int
}

// Repairs are what Reconcile.Repair can be.
var Repairs = []string{"none", "withdrawals", "all"}

func (p *parser) reconcile(c *Config, r *reader) {
	c.Reconcile = Reconcile{Repair: "withdrawals", MaxErasures: 100}
	if r == nil {
		return
	}
	c.Reconcile.Every = r.durationOrNone("every", 0)
	c.Reconcile.Repair = r.oneOf("repair", c.Reconcile.Repair, Repairs...)
	c.Reconcile.EraseGone, _ = r.boolean("erase_gone")
	c.Reconcile.MaxErasures = r.integer("max_erasures", c.Reconcile.MaxErasures, 1, 1_000_000)
	r.done()
}

// api reads how a source speaks to the sender; nil when it does not.
func (p *parser) api(source *reader, application text) *API {
	r := source.single("api")
	if r == nil {
		return nil
	}
	a := &API{Range: r.header}
	tokens := p.endpoint(r, a)
	p.apiAuth(r, a, tokens)
	a.Application = application.string
	if own := r.text("application_id"); own.set {
		a.Application = own.string
	}
	if a.Application == "" {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add application_id = \"acme-eu-01\" to %s, which then takes updates of this application alone, or here.", r.what, "application_id", source.what)
	}
	a.RateLimit = 5
	if limit := p.rate(r, "rate_limit"); limit > 0 {
		a.RateLimit = limit
	}
	a.PageSize = r.integer("page_size", 100, 1, 100)
	a.Timeout = r.duration("timeout", time.Minute, time.Second, 10*time.Minute)
	a.RepairEvery = r.durationOrNone("repair_every", 6*time.Hour)
	a.Heartbeat = r.duration("heartbeat", 0, 0, long)
	a.Overlap = r.duration("overlap", 10*time.Minute, 0, 30*24*time.Hour)
	a.ConfirmAfter = r.duration("confirm_after", 5*time.Minute, 0, 30*24*time.Hour)
	a.Paths, a.Params = cpm.DefaultPaths(), cpm.DefaultParams()
	if paths := r.single("paths"); paths != nil {
		for name, into := range map[string]*string{
			"effective": &a.Paths.Effective, "permissions": &a.Paths.Permissions, "configuration": &a.Paths.Configuration,
			"citizens": &a.Paths.Citizens, "subscriptions": &a.Paths.Subscriptions,
		} {
			if t := paths.text(name); t.set && p.urlPath(paths, t, name) {
				*into = t.string
			}
		}
		paths.done()
	}
	if params := r.single("params"); params != nil {
		for name, into := range map[string]*string{
			"application": &a.Params.Application, "citizen": &a.Params.Citizen, "external_ref": &a.Params.ExternalRef, "since": &a.Params.Since,
			"before": &a.Params.Before, "limit": &a.Params.Limit, "offset": &a.Params.Offset, "include_total": &a.Params.IncludeTotal,
		} {
			if t := params.text(name); t.set {
				*into = t.string
			}
		}
		params.done()
	}
	a.SubscriptionName = "consentd " + source.labels[0]
	if sub := r.single("subscription"); sub != nil {
		if name := sub.text("name"); name.set && name.string != "" {
			a.SubscriptionName = name.string
		}
		at := sub.need("url", `"https://consent.example.org/webhooks/dataguard"`)
		refresh := sub.text("refresh_url")
		for _, t := range []struct {
			text
			name, what string
		}{{at, "url", "this source"}, {refresh, "refresh_url", "its token endpoint"}} {
			if _, err := httpclient.Endpoint(t.string); t.set && err != nil {
				sub.error(t.at, "Not an address", "In %s, %q is where the sender reaches %s from outside, and %v. Write %s = \"https://consent.example.org/webhooks/dataguard\".", sub.what, t.name, t.what, err, t.name)
			}
		}
		a.RefreshURL = refresh.string
		a.SubscriptionURL = at.string
		sub.done()
	}
	r.done()
	// What is secret is of no use any more, and must not be printed with the rest.
	defer func() { a.secrets = nil }()
	a.Identity = sha256.Sum256(fmt.Appendf(a.secrets, "%q %q %q %v %v %v %q %q", a.BaseURL, tokens, a.Application, a.RateLimit, a.PageSize, a.Timeout, a.Paths, a.Params))
	return a
}

// endpoint reads where the API is, and answers where its tokens are.
func (p *parser) endpoint(r *reader, a *API) (tokens string) {
	known := cpm.Environments()
	names := slices.Sorted(maps.Keys(known))
	environment, base, token := r.text("environment"), r.text("base_url"), r.text("token_url")
	switch {
	case environment.set && !slices.Contains(names, environment.string):
		r.error(environment.at, "Unknown value", "In %s, %q cannot be %s. %s", r.what, "environment", environment.shown(), environment.didYouMean(names))
	case environment.set:
		a.BaseURL, tokens = known[environment.string].BaseURL, known[environment.string].TokenURL
	case !base.set:
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add environment = \"eu\", \"uk\", \"sandbox\" or \"testing\", or base_url with the address of the API.", r.what, "environment")
	}
	for _, t := range []struct {
		text
		name, example string
		into          *string
	}{{base, "base_url", "https://api.dgconsent.de", &a.BaseURL}, {token, "token_url", "https://dgconsentde.eu.auth0.com/oauth/token", &tokens}} {
		if !t.set {
			continue
		}
		if _, err := httpclient.Endpoint(t.string); err != nil {
			r.error(t.at, "Not an address", "In %s, %q %v. Write %s = %q.", r.what, t.name, err, t.name, t.example)
			continue
		}
		*t.into = strings.TrimRight(t.string, "/")
	}
	return tokens
}

func (p *parser) apiAuth(r *reader, a *API, tokens string) {
	key, id, secret, audience := !r.absent("api_key"), !r.absent("client_id"), !r.absent("client_secret"), r.text("audience")
	// What is there and is not read, for a mistake elsewhere, is not unknown.
	r.attributes = append(r.attributes, "api_key", "client_id", "client_secret")
	if !audience.set {
		audience.string = a.BaseURL // as in the vendor's published environments
	}
	switch {
	case key && (id || secret):
		r.error(r.header, "Credentials of two kinds", "In %s, keep either api_key, or client_id and client_secret.", r.what)
	case key:
		value := p.printable(r, "api_key", `env("CPM_API_KEY")`)
		a.Auth, a.secrets = httpclient.APIKey("X-API-Key", value), fmt.Appendf(nil, "%q ", value)
		return
	case id && secret:
		if tokens == "" && a.BaseURL != "" {
			r.error(r.header, "Missing attribute", "In %s, %q is missing. Add token_url with the address of the token endpoint.", r.what, "token_url")
			return
		}
		name, password := p.printable(r, "client_id", `env("CPM_CLIENT_ID")`), p.printable(r, "client_secret", `env("CPM_CLIENT_SECRET")`)
		a.Auth = httpclient.SignIn(httpclient.OAuth2{TokenURL: tokens, Grant: clientCredentials(name, password, "", audience.string)})
		a.secrets = fmt.Appendf(nil, "%q %q %q ", name, password, audience.string)
		return
	default:
		r.error(r.header, "Missing attribute", "In %s, nothing says who asks. Add api_key = env(\"CPM_API_KEY\"), or client_id and client_secret.", r.what)
	}
}
