// Package sdk is all that the author of a consentd plugin imports.
//
// A plugin describes a target type (its configuration, what a record may hold, the vendor's limits)
// and makes targets of it; a target has one required verb, Deliver. consentd launches the plugin as
// a process of its own, one for each target block, and owns everything about time: retries, back-off,
// order, rate and what happens after a crash. So a target does one attempt and says truthfully what
// became of it.
//
// This is a whole plugin:
//
//	package main
//
//	func main() { sdk.Serve(Plugin()) }
//
//	func Plugin() sdk.Plugin {
//		return sdk.Plugin{
//			Type: "acme", Version: "1.0.0", Doc: "Keeps the subscribers of Acme.",
//			Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
//				"base_url": {Type: "string", Required: true, Doc: "Where the API is."},
//				"token":    {Type: "string", Required: true, Sensitive: true, Doc: "The API token."},
//			}},
//			Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
//				"email":      {Type: "string", Required: true, Doc: "Who it is about."},
//				"newsletter": {Type: "bool", Doc: "Whether they may get the newsletter."},
//			}},
//			New: func(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
//				var c struct {
//					BaseURL string `json:"base_url"`
//					Token   string `json:"token"`
//				}
//				if err := cfg.Decode(&c); err != nil {
//					return nil, err
//				}
//				if c.Token == "" {
//					return nil, sdk.InvalidConfig("token", "must not be empty")
//				}
//				client, err := httpclient.New(httpclient.Options{BaseURL: c.BaseURL, Auth: httpclient.Bearer(c.Token), MaxInFlight: 8})
//				if err != nil {
//					return nil, sdk.InvalidConfig("base_url", "%v", err)
//				}
//				return &target{client}, nil
//			},
//		}
//	}
//
//	type target struct{ client *httpclient.Client }
//
//	func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
//		return sdk.Each(ctx, records, 8, func(ctx context.Context, r sdk.Record) sdk.Outcome {
//			var who struct{ Email string }
//			if err := r.Decode(&who); err != nil {
//				return sdk.Rejected("INVALID_RECORD", "%v", err)
//			}
//			res, err := t.client.Do(ctx, httpclient.Request{Method: "PATCH", Path: "/people/" + url.PathEscape(who.Email), Body: r.Fields})
//			if err != nil {
//				return sdk.FromError(err)
//			}
//			return res.Outcome()
//		})
//	}
//
//	func (t *target) Close() error {
//		t.client.Close()
//		return nil
//	}
//
// Build it as consentd-plugin-acme, put it into plugin_dir and write into the configuration what consentd
// plugin sum prints. Command consentd plugin new acme writes a module with all of this to start from, and
// README.md beside this file goes with it from there to delivering.
// Package sdktest, the conformance kit, runs it through the wire in one test and says what to mend.
// Package httpclient is the edge to a vendor's HTTP API. Plugins in other languages start from the page
// in folder targetpb.
//
// # What a plugin has to hold
//
//   - The same record twice equals once; grant, withdrawal, grant leads to where the first grant did.
//   - The withdrawal of somebody unknown to the vendor ends: unchanged, delivered or rejected.
//   - Null clears, an absent name is left alone, false is false. See [Optional].
//   - One bad record does not spoil the others of its call.
//   - Deliver returns when its context ends, and does not retry.
//   - No value of a record and no secret is in a log, a message or a code.
//
// # Versions
//
// There are two promises, one for the source and one for the wire.
//
// The source: a plugin that compiles against one release of this module compiles against every later one
// of the same major version. Structs of this package may get fields, so write their literals with field
// names; the Target interface stays as it is, and what is new comes as an optional interface beside Checker
// and Reader. Package sdktest may get checks, so a plugin may fail a later kit: each new check is announced
// with its release, and can be skipped with a reason.
//
// The wire: a plugin that was built against version 1 runs under every consentd that speaks version 1,
// without being built again, and a new plugin runs under an old consentd. Version 1 only grows; a test holds
// it to the descriptor that was released. A version 2 would stand beside it for at least a year.
package sdk
