// Package plugins lists the plugins that come with consentd, and the vendors' simulators that
// `run --dev` serves in place of the vendors. It is the one place to add a bundled plugin to.
package plugins

import (
	"net/http"

	"github.com/consentd/consentd/plugins/braze"
	brazesim "github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/plugins/brevo"
	brevosim "github.com/consentd/consentd/plugins/brevo/sim"
	"github.com/consentd/consentd/plugins/chaos"
	"github.com/consentd/consentd/plugins/dataverse"
	dataversesim "github.com/consentd/consentd/plugins/dataverse/sim"
	"github.com/consentd/consentd/plugins/file"
	"github.com/consentd/consentd/plugins/hubspot"
	hubspotsim "github.com/consentd/consentd/plugins/hubspot/sim"
	"github.com/consentd/consentd/plugins/klaviyo"
	klaviyosim "github.com/consentd/consentd/plugins/klaviyo/sim"
	"github.com/consentd/consentd/plugins/mailchimp"
	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
	"github.com/consentd/consentd/plugins/marketo"
	marketosim "github.com/consentd/consentd/plugins/marketo/sim"
	"github.com/consentd/consentd/plugins/salesforce"
	salesforcesim "github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/plugins/webhook"
	webhooksim "github.com/consentd/consentd/plugins/webhook/sim"
	"github.com/consentd/consentd/sdk"
)

// Bundled are the plugins in the binary, by type.
func Bundled() []sdk.Plugin {
	return []sdk.Plugin{
		braze.Plugin(),
		brevo.Plugin(),
		chaos.Plugin(),
		dataverse.Plugin(),
		file.Plugin(),
		hubspot.Plugin(),
		klaviyo.Plugin(),
		mailchimp.Plugin(),
		marketo.Plugin(),
		salesforce.Plugin(),
		webhook.Plugin(),
	}
}

// Simulator stands in for the vendor of a bundled plugin.
type Simulator struct {
	// Type is the plugin's.
	Type string
	// New makes a handler with a state of its own. It tells in a line what each request did.
	New func(notify func(line string)) http.Handler
}

// Simulators are those that there are, by type.
func Simulators() []Simulator {
	return []Simulator{
		{"braze", func(notify func(string)) http.Handler { return brazesim.New(notify) }},
		{"brevo", func(notify func(string)) http.Handler { return brevosim.New(notify) }},
		{"dataverse", func(notify func(string)) http.Handler { return dataversesim.New(notify) }},
		{"hubspot", func(notify func(string)) http.Handler { return hubspotsim.New(notify) }},
		{"klaviyo", func(notify func(string)) http.Handler { return klaviyosim.New(notify) }},
		{"mailchimp", func(notify func(string)) http.Handler { return mailchimpsim.New(notify) }},
		{"marketo", func(notify func(string)) http.Handler { return marketosim.New(notify) }},
		{"salesforce", func(notify func(string)) http.Handler { return salesforcesim.New(notify) }},
		{"webhook", func(notify func(string)) http.Handler { return webhooksim.New(notify) }},
	}
}
