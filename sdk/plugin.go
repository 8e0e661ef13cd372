package sdk

import (
	"context"

	"github.com/hashicorp/go-hclog"
)

// Plugin describes a target type and makes targets of it. It is a value: the same Plugin may make
// any number of targets.
type Plugin struct {
	// Type is the first label of a target block, in lower case: "mailchimp".
	Type string
	// Version is the plugin's own, in semantic form: "1.4.0". Receipts carry it.
	Version string
	// Doc is one or more paragraphs in Markdown for the reference page.
	Doc string
	// Config is what goes inside target > config.
	Config Schema
	// Record is what a rule's record may hold.
	Record Schema
	// Limits are what the vendor allows in one call, and at once.
	Limits Limits
	// New makes a target. It must not reach the vendor for longer than ctx allows, and needs not reach
	// it at all. A mistake in cfg is answered with InvalidConfig. The target may log; the logger never
	// gets a record's values or a secret.
	New func(ctx context.Context, cfg Config, log hclog.Logger) (Target, error)
}

// Limits are a vendor's own. Zero means none is known.
type Limits struct {
	// MaxBatch is the most records one Deliver gets.
	MaxBatch int
	// MaxInFlight is the most Deliver calls at once.
	MaxInFlight int
}

// Target brings one external system to the wanted state.
//
// Deliver is called concurrently, never at once for one citizen. The same record may come again, and
// twice must equal once. It returns one outcome a record, in the records' order, also when ctx ends
// early: within a second, with Retry for what it could not find out. It does not retry by itself.
type Target interface {
	Deliver(ctx context.Context, records []Record) []Outcome
}

// Checker is a Target that can tell whether its credentials work. It changes nothing at the vendor.
// Delivered means they do.
type Checker interface {
	Check(ctx context.Context) Outcome
}

// Reader is a Target that can tell what the vendor holds now. It returns one reading a record, in the
// records' order; of a record it looks at the identity alone.
type Reader interface {
	Read(ctx context.Context, records []Record) []Reading
}

// Reading is what the vendor holds about one person.
type Reading struct {
	// Outcome is Delivered when the vendor could be read.
	Outcome Outcome
	// Found is whether the vendor knows the person.
	Found bool
	// Fields is as much of the record schema as the vendor tells.
	Fields map[string]any
}

// Eraser is a Target that can remove a person from the vendor. Erasing somebody the vendor does not
// know is Delivered.
type Eraser interface {
	Erase(ctx context.Context, records []Record) []Outcome
}

// Closer is a Target that holds something to be freed. Close is called once, after the last Deliver.
type Closer interface {
	Close() error
}
