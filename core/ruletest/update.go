package ruletest

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
)

// begin is when the first update of a test comes in that says nothing of time, and pause how long after it the next.
var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const pause = time.Minute

// update reads one update, and answers how many expectations stand in it.
func (r *reading) update(b *block) int {
	_, hasFile := b.body.Attributes["file"]
	file, fileAt := b.text("file")
	body, hasBody := b.expression("body")
	sentAt, _ := b.instant("sent_at")
	permissions := b.each("permission", `permission "NAME" { state = "GRANTED" }`, 1, 1)
	preferences := b.each("preference", `preference "NAME" { choices = [] }`, 1, 1)
	at, atAt := b.instant("at")
	written := len(permissions)+len(preferences) > 0 || !sentAt.IsZero()
	var message []byte
	switch {
	case hasFile && hasBody:
		b.p.report(fileAt, "Update twice", "In %s, both %q and %q say what comes in. Keep one of them.", b.what, "file", "body")
	case (hasFile || hasBody) && written:
		b.p.report(b.header, "Update twice", "In %s, %q and %q say all that comes in. Take them out, or what stands beside them.", b.what, "file", "body")
	case hasFile:
		var err error
		if message, err = os.ReadFile(filepath.Join(filepath.Dir(r.test.file), file)); err != nil {
			b.p.report(fileAt, "Update cannot be read", "%v. A relative path starts at the test file's directory.", err)
		}
	case hasBody:
		v, diags := b.p.scope.Value(body)
		b.p.diags = append(b.p.diags, diags...)
		if diags.HasErrors() {
			break
		}
		if v.Type() == cty.String && !v.IsNull() {
			message = []byte(v.AsString())
		} else if json, err := eval.AppendJSON(nil, v); err == nil {
			message = json
		} else {
			b.p.report(body.Range(), "Wrong value", "In %s, %q cannot be written as JSON: %v. Write { name = value }, or the JSON itself between <<JSON and JSON.", b.what, "body", err)
		}
	}
	if message != nil {
		if state, err := consent.Decode(message); err == nil {
			if sentAt = state.SentAt; sentAt.IsZero() {
				sentAt = state.Evidence()
			}
			r.sameCitizen(b, string(state.CitizenID))
		}
	}
	switch {
	case !at.IsZero():
		r.moveTo(b.p, at, atAt)
	case r.now.IsZero() && !sentAt.IsZero():
		r.now = sentAt
	case r.now.IsZero():
		r.now = begin
	default:
		if r.now = r.now.Add(pause); sentAt.After(r.now) {
			r.now = sentAt
		}
	}
	if message == nil {
		message = r.write(b, permissions, preferences, sentAt)
	}
	r.test.moments = append(r.test.moments, moment{now: r.now, update: message})
	expects := b.each("expect", `expect "RULE" { ... }, or expect { outcome = "..." }`, 0, 1)
	b.done()
	for _, e := range expects {
		r.expect(e)
	}
	return len(expects)
}

// sameCitizen holds a test to one citizen.
func (r *reading) sameCitizen(b *block, id string) {
	if r.citizenID != "" && r.citizenID != id {
		b.p.report(b.header, "Another citizen", "In %s, the update is of another citizen than those before it. A test is of one citizen: write a second test.", b.what)
	}
	r.citizenID = id
}

// write makes the message of an update that is written as blocks. What bears no time is from when the update was
// sent, and that is when it came in.
func (r *reading) write(b *block, permissions, preferences []*block, sentAt time.Time) []byte {
	if sentAt.IsZero() {
		sentAt = r.now
	}
	c := r.setting.citizen
	state := consent.State{
		CitizenID: consent.Identifier(c.id), ExternalRef: consent.Identifier(c.externalRef), ApplicationID: consent.Identifier(c.applicationID),
		Permissions: []consent.Permission{}, Preferences: []consent.Preference{}, SentAt: sentAt,
	}
	if c.id == "" {
		state.CitizenID = "citizen-1"
	}
	if c.applicationID == "" {
		state.ApplicationID = consent.Identifier(r.test.source.ApplicationID)
	}
	r.sameCitizen(b, string(state.CitizenID))
	for _, p := range permissions {
		state.Permissions = append(state.Permissions, r.permission(p, sentAt))
	}
	for _, p := range preferences {
		state.Preferences = append(state.Preferences, r.preference(p, sentAt))
	}
	return consent.Encode(state)
}

// states are the sender's.
var states = []string{"GRANTED", "DENIED", "PENDING", "CLAIMED", "OBJECTED", "OBJECTION_UPHELD"}

func (r *reading) permission(b *block, sentAt time.Time) consent.Permission {
	var p consent.Permission
	options := r.suite.config.Names.Options
	if i := slices.IndexFunc(options, func(o rules.Option) bool { return o.Name == b.labels[0] }); i >= 0 {
		p.OptionType, p.OptionID, p.Justification = options[i].Type, options[i].ID, options[i].Justification
	} else {
		var known []string
		for _, o := range options {
			known = append(known, o.Name)
		}
		b.p.report(b.labelRanges[0], "Unknown option", "The configuration has no option %q. %s", b.labels[0], eval.DidYouMean(b.labels[0], known))
	}
	if _, there := b.body.Attributes["state"]; !there {
		b.p.report(b.header, "Missing attribute", "In %s, %q is missing. Add state = \"GRANTED\", or null for none.", b.what, "state")
	}
	p.State = b.oneOf("state", " To try what the sender does not have, write the update as a body.", states...)
	if s, _ := b.text("justification"); s != "" {
		p.Justification = s
	}
	p.Channel, _ = b.text("channel")
	p.Campaign, _ = b.text("campaign")
	p.TransactionID, _ = b.text("transaction_id")
	p.PermissionStatementRef, _ = b.text("statement_ref")
	p.PrivacyPolicyRef, _ = b.text("policy_ref")
	p.ObtainedAt, _ = b.instant("obtained_at")
	p.ValidFrom, _ = b.instant("valid_from")
	p.ValidUntil, _ = b.instant("valid_until")
	if p.RecordedAt, _ = b.instant("recorded_at"); p.RecordedAt.IsZero() {
		p.RecordedAt = sentAt
	}
	b.done()
	return p
}

func (r *reading) preference(b *block, sentAt time.Time) consent.Preference {
	p := consent.Preference{Choices: []consent.Choice{}}
	named := r.suite.config.Names.Preferences
	if i := slices.IndexFunc(named, func(n rules.Preference) bool { return n.Name == b.labels[0] }); i >= 0 {
		p.Preference = named[i].Reference
	} else {
		var known []string
		for _, n := range named {
			known = append(known, n.Name)
		}
		b.p.report(b.labelRanges[0], "Unknown preference", "The configuration has no preference %q. %s", b.labels[0], eval.DidYouMean(b.labels[0], known))
		p.Preference = b.labels[0]
	}
	choices, _, ok := b.texts("choices")
	if _, there := b.body.Attributes["choices"]; !ok && !there {
		b.p.report(b.header, "Missing attribute", "In %s, %q is missing. Add choices = [\"...\"], or [] for none.", b.what, "choices")
	}
	labels, labelsAt, labelled := b.texts("labels")
	if labelled && len(labels) != len(choices) {
		b.p.report(labelsAt, "Wrong number of labels", "In %s, write one label for each of the choices, in their order.", b.what)
		labelled = false
	}
	for i, reference := range choices {
		c := consent.Choice{Reference: reference}
		if labelled {
			c.Label = labels[i]
		}
		p.Choices = append(p.Choices, c)
	}
	if p.UpdatedAt, _ = b.instant("updated_at"); p.UpdatedAt.IsZero() {
		p.UpdatedAt = sentAt
	}
	b.done()
	return p
}
