package dataverse

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// The consent table of today. Those named without a number, or with 2 or 3, have not been kept in step
// since June 2024. Names and numbers:
// learn.microsoft.com/dynamics365/developer/reference/entities/msdynmkt_contactpointconsent4.
const (
	consentTable = "/msdynmkt_contactpointconsent4s"
	consentID    = "msdynmkt_contactpointconsent4id"

	ofPurpose = 534120000 // msdynmkt_contactpointconsenttype
	ofTopic   = 534120001
	internal  = 534120000 // msdynmkt_source
	noReasons = 534119999 // msdynmkt_logicalreason

	maxContactPoint = 400
	maxReason       = 500
)

var (
	channels = map[string]int{"email": 534120000, "text": 534120001, "voice": 534120003}
	statuses = map[string]int{"not_set": 534120000, "opted_in": 534120001, "opted_out": 534120002}
)

// consent is one decision about a contact point.
type consent struct {
	ContactPoint string               `json:"contact_point"`
	Channel      string               `json:"channel"`
	Purpose      string               `json:"purpose"`
	Topic        string               `json:"topic"`
	Status       string               `json:"status"`
	Reason       sdk.Optional[string] `json:"reason"`

	create bool
	known  []string // ids of the rows that plan changes
}

func (c *consent) check() error {
	p := c.ContactPoint
	_, channel := channels[c.Channel]
	_, status := statuses[c.Status]
	switch {
	case p == "" || len(p) > maxContactPoint || strings.TrimSpace(p) != p || strings.ContainsFunc(p, unicode.IsControl):
		return sdk.Rejected("INVALID_CONTACT_POINT", "contact_point must be 1 to %d bytes, without surrounding space and control characters", maxContactPoint).Err()
	case c.Channel == "email" && !subscriber.IsEmail(p):
		return sdk.Rejected("INVALID_CONTACT_POINT", "contact_point is not an e-mail address").Err()
	case !channel:
		return sdk.Rejected("INVALID_CHANNEL", "channel must be email, text or voice").Err()
	case !guidForm.MatchString(c.Purpose) || c.Topic != "" && !guidForm.MatchString(c.Topic):
		return sdk.Rejected("INVALID_PURPOSE", "purpose and topic must be GUIDs").Err()
	case !status:
		return sdk.Rejected("INVALID_STATUS", "status must be opted_in, opted_out or not_set").Err()
	case len(c.Reason.Value) > maxReason:
		return sdk.Rejected("INVALID_REASON", "reason must be at most %d bytes", maxReason).Err()
	}
	return nil
}

// key is the id that a row of ours has. Dataverse compares text without regard to case.
func (c *consent) key() string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.Join([]string{"consentd", c.ContactPoint, c.Channel, c.Purpose, c.Topic}, "\x00"))))
	sum[6] = sum[6]&0x0f | 0x80 // version 8 of RFC 9562: made by a rule of one's own
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (c *consent) find() operation {
	filter := "statecode eq 0 and msdynmkt_contactpointvalue eq '" + strings.ReplaceAll(c.ContactPoint, "'", "''") +
		"' and msdynmkt_contactpointtype eq " + strconv.Itoa(channels[c.Channel])
	if c.Topic == "" {
		filter += " and msdynmkt_contactpointconsenttype eq " + strconv.Itoa(ofPurpose) + " and _msdynmkt_purposeid_value eq " + c.Purpose
	} else {
		filter += " and msdynmkt_contactpointconsenttype eq " + strconv.Itoa(ofTopic) + " and _msdynmkt_topicid_value eq " + c.Topic
	}
	// A plus sign for a space is a form's custom, which nobody promises for an operation of a batch.
	escaped := strings.ReplaceAll(url.QueryEscape(filter), "+", "%20")
	return operation{method: http.MethodGet, path: consentTable + "?$select=" + consentID + ",msdynmkt_value&$filter=" + escaped}
}

func (c *consent) look(subscriber.Resubscribe) (operation, bool) { return c.find(), true }

type consentRow struct {
	ID    string `json:"msdynmkt_contactpointconsent4id"`
	Value int    `json:"msdynmkt_value"`
}

// rows reads the answer to find.
func (c *consent) rows(found *httpclient.Response) ([]consentRow, error) {
	if err := outcomeOf(found).Err(); err != nil {
		return nil, err
	}
	var answer struct {
		Value *[]consentRow `json:"value"`
	}
	unreadable := sdk.Retry("UNREADABLE_ANSWER", "the answer to a query is not one of the Dataverse Web API").Err()
	if found.Decode(&answer) != nil || answer.Value == nil {
		return nil, unreadable
	}
	for _, r := range *answer.Value {
		if !guidForm.MatchString(r.ID) {
			return nil, unreadable
		}
	}
	return *answer.Value, nil
}

func (c *consent) plan(found *httpclient.Response, policy subscriber.Resubscribe) ([]operation, sdk.Outcome) {
	rows, err := c.rows(found)
	if err != nil {
		return nil, sdk.FromError(err)
	}
	change := map[string]any{
		"msdynmkt_value":         statuses[c.Status],
		"msdynmkt_source":        internal,
		"msdynmkt_logicalreason": noReasons,
		"msdynmkt_reason":        c.reason(),
	}
	var writes []operation
	c.known = nil
	for _, r := range rows {
		if r.Value == statuses["opted_out"] && c.Status != "opted_out" && policy != subscriber.Force {
			return nil, sdk.Rejected("OPTED_OUT", "Dataverse holds an opt-out of this contact point, and resubscribe is never")
		}
		if r.Value != statuses[c.Status] {
			writes = append(writes, operation{method: http.MethodPatch, path: consentTable + "(" + r.ID + ")", mustExist: true, body: change})
			c.known = append(c.known, r.ID)
		}
	}
	switch {
	case len(writes) > 0:
		return writes, sdk.Outcome{}
	case len(rows) > 0 || c.Status == "not_set":
		return nil, sdk.Unchanged()
	case !c.create && c.Status == "opted_out":
		return nil, sdk.Unchanged()
	case !c.create:
		return nil, sdk.Rejected("NOT_FOUND", "Dataverse holds no consent of this contact point, and the record may not create one")
	}
	return []operation{{method: http.MethodPatch, path: consentTable + "(" + c.key() + ")", body: c.whole(change)}}, sdk.Outcome{}
}

// whole adds to a change what a new row needs. The state is there for a row of ours that somebody
// deactivated: it was not found, and is brought back.
func (c *consent) whole(change map[string]any) map[string]any {
	change["msdynmkt_contactpointvalue"] = c.ContactPoint
	change["msdynmkt_contactpointtype"] = channels[c.Channel]
	change["msdynmkt_purposeId@odata.bind"] = "/msdynmkt_purposes(" + c.Purpose + ")"
	change["msdynmkt_contactpointconsenttype"] = ofPurpose
	if c.Topic != "" {
		change["msdynmkt_contactpointconsenttype"] = ofTopic
		change["msdynmkt_topicId@odata.bind"] = "/msdynmkt_topics(" + c.Topic + ")"
	}
	change["statecode"] = 0
	change["statuscode"] = 1
	return change
}

func (c *consent) reason() any {
	switch {
	case c.Reason.Null:
		return nil
	case c.Reason.Present:
		return c.Reason.Value
	}
	return "consentd"
}

func (c *consent) outcome(answers []*httpclient.Response) sdk.Outcome {
	all := make([]sdk.Outcome, len(answers))
	for i, res := range answers {
		all[i] = outcomeOf(res)
		switch {
		case all[i].Kind.Done() && len(c.known) > 0:
			all[i].Reference = c.known[i]
		case all[i].Kind.Done():
			all[i].Reference = c.key()
		case missing(res) && len(c.known) > 0:
			all[i] = sdk.Retry("CONFLICT", "a consent was deleted while it was changed")
		case missing(res):
			all[i] = sdk.Unauthorized("PURPOSE_NOT_FOUND", "the purpose or the topic does not exist in the environment")
		}
	}
	return worst(all)
}

func (c *consent) takings(sdk.Outcome) (operation, bool) { return operation{}, false }

func (c *consent) taken(o sdk.Outcome, _ *httpclient.Response) sdk.Outcome { return o }

// reading takes an opt-out among several rows for the truth, as the wary reader.
func (c *consent) reading(found *httpclient.Response) (map[string]any, error) {
	rows, err := c.rows(found)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	status := "not_set"
	for _, r := range rows {
		switch r.Value {
		case statuses["opted_out"]:
			status = "opted_out"
		case statuses["opted_in"]:
			if status == "not_set" {
				status = "opted_in"
			}
		}
	}
	held := map[string]any{"contact_point": c.ContactPoint, "channel": c.Channel, "purpose": c.Purpose, "status": status}
	if c.Topic != "" {
		held["topic"] = c.Topic
	}
	return map[string]any{"consent": held}, nil
}

func (c *consent) remove(found *httpclient.Response) ([]operation, error) {
	rows, err := c.rows(found)
	var all []operation
	for _, r := range rows {
		all = append(all, operation{method: http.MethodDelete, path: consentTable + "(" + r.ID + ")"})
	}
	return all, err
}
