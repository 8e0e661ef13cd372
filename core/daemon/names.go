package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/rules/eval"
)

// askTimeout bounds how long the sender's API may take to answer a person who waits.
const askTimeout = 30 * time.Second

// checkOptions asks the senders which option ids there are, and warns of those that a configuration names and nobody
// knows. Warnings only: an API may be away, and an id may be of a sender that cannot be asked.
func checkOptions(ctx context.Context, cfg *config.Config, log hclog.Logger) hcl.Diagnostics {
	var diags hcl.Diagnostics
	known, ids, all := map[string]cpm.Option{}, []string{}, len(cfg.Sources) > 0
	for _, s := range cfg.Sources {
		if s.API == nil {
			all = false
			continue
		}
		options, err := optionsOf(ctx, s, log)
		if err != nil {
			at := s.API.Range
			all = false
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Sender's API does not answer", Subject: &at,
				Detail: fmt.Sprintf("%s: %v.", s.Name, err)})
			continue
		}
		for _, o := range options {
			known[o.ID] = o
			ids = append(ids, o.ID)
		}
	}
	if !all {
		return diags
	}
	for _, o := range cfg.Names.Options {
		if _, there := known[o.ID]; there || o.Type == "group" { // whether groups are listed is not known
			continue
		}
		at := o.Range
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Sender knows no such option", Subject: &at,
			Detail: fmt.Sprintf("The option %q has the id %q, which the sender does not know, so it will never be known of anybody. %s `consentd options list` says what they mean.",
				o.Name, o.ID, eval.DidYouMean(o.ID, ids))})
	}
	return diags
}

func optionsOf(ctx context.Context, s config.Source, log hclog.Logger) ([]cpm.Option, error) {
	c, err := cpm.New(s.API.Config, log)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.Options(ctx)
}
