// Command acme is an external plugin as an author would write it.
package main

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Type: "acme", Version: "1.0.0", Doc: "Appends to a file.",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{"path": {Type: "string", Required: true, Doc: "The file."}}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{"key": {Type: "string", Required: true, Doc: "Whom it is about."}}},
		New: func(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
			var t target
			if err := cfg.Decode(&t); err != nil {
				return nil, err
			}
			log.Info("what acme sees", "home", os.Getenv("HOME"), "greeting", os.Getenv("ACME_GREETING"))
			return &t, nil
		},
	})
}

type target struct {
	Path string `json:"path"`
}

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, 1, func(_ context.Context, r sdk.Record) sdk.Outcome {
		f, err := os.OpenFile(t.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return sdk.Retry("OPEN", "the file cannot be opened")
		}
		defer f.Close()
		if _, err := f.Write(append(r.Fields, '\n')); err != nil {
			return sdk.Retry("WRITE", "the file cannot be written")
		}
		return sdk.Delivered("")
	})
}
