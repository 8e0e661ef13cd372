package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// kind is a column's type.
type kind int

const (
	text kind = iota
	flag
	number
	choice
	date
	lookup
)

type column struct {
	kind   kind
	length int   // of a text
	values []int // of a choice
	to     string
}

// table is one of the entity sets that the simulator holds. Columns that begin with acme_ are there in
// every table, as texts.
type table struct {
	logical, id string
	columns     map[string]column
	keys        [][]string // alternate keys
}

var do = column{kind: flag}

// tables hold a small part of what the vendor's have.
var tables = map[string]table{
	"contacts": {
		logical: "contact", id: "contactid",
		keys: [][]string{{"acme_cpmid"}, {"acme_customernumber"}, {"emailaddress1", "firstname"}, {"acme_number", "_parentcustomerid_value"}},
		columns: map[string]column{
			"firstname": {length: 50}, "lastname": {length: 50}, "emailaddress1": {length: 100}, "mobilephone": {length: 50},
			"address1_city": {length: 80}, "description": {length: 2000}, "birthdate": {kind: date}, "numberofchildren": {kind: number},
			"donotemail": do, "donotbulkemail": do, "donotphone": do, "donotfax": do, "donotpostalmail": do, "donotbulkpostalmail": do, "donotsendmm": do,
			"preferredcontactmethodcode": {kind: choice, values: []int{1, 2, 3, 4, 5}},
			"parentcustomerid_account":   {kind: lookup, to: "accounts"},
		},
	},
	"accounts": {
		logical: "account", id: "accountid", keys: [][]string{{"accountnumber"}},
		columns: map[string]column{"accountnumber": {length: 20}, "name": {length: 160}},
	},
	"msdynmkt_purposes": {logical: "msdynmkt_purpose", id: "msdynmkt_purposeid", columns: map[string]column{"msdynmkt_name": {length: 100}}},
	"msdynmkt_topics":   {logical: "msdynmkt_topic", id: "msdynmkt_topicid", columns: map[string]column{"msdynmkt_name": {length: 100}}},
	"msdynmkt_contactpointconsent4s": {
		logical: "msdynmkt_contactpointconsent4", id: "msdynmkt_contactpointconsent4id",
		columns: map[string]column{
			"msdynmkt_contactpointvalue":       {length: 400},
			"msdynmkt_contactpointtype":        {kind: choice, values: []int{534120000, 534120001, 534120002, 534120003}},
			"msdynmkt_contactpointconsenttype": {kind: choice, values: []int{534120000, 534120001}},
			"msdynmkt_value":                   {kind: choice, values: []int{534120000, 534120001, 534120002}},
			"msdynmkt_source":                  {kind: choice, values: []int{534120000, 534120001, 534120002, 534120003, 534120004, 534120005, 534120006, 534120007}},
			"msdynmkt_logicalreason":           {kind: choice, values: []int{534119999, 534120000, 534120001, 534120002, 534120003, 534120004, 534120005, 534120006, 534120007}},
			"msdynmkt_reason":                  {length: 500},
			"msdynmkt_purposeId":               {kind: lookup, to: "msdynmkt_purposes"},
			"msdynmkt_topicId":                 {kind: lookup, to: "msdynmkt_topics"},
			"statecode":                        {kind: choice, values: []int{0, 1}},
			"statuscode":                       {kind: choice, values: []int{1, 2}},
		},
	},
}

func (t table) column(name string) (column, bool) {
	if strings.HasPrefix(name, "acme_") {
		return column{length: 100}, true
	}
	c, ok := t.columns[name]
	return c, ok
}

// readable is whether a query may name the column.
func (t table) readable(name string) bool {
	c, ok := t.column(name)
	return ok && c.kind != lookup || name == t.id || t.lookupOf(name) != ""
}

// lookupOf is the navigation property behind the name under which a lookup is read: msdynmkt_purposeId
// behind _msdynmkt_purposeid_value. A lookup to one of several tables has the table at its end.
func (t table) lookupOf(name string) string {
	for property, c := range t.columns {
		if c.kind == lookup && name == c.read(property) {
			return property
		}
	}
	return ""
}

func (c column) read(property string) string {
	return "_" + strings.ToLower(strings.TrimSuffix(property, "_account")) + "_value"
}

const payloadError = "Error identified in Payload provided by the user for Entity :'%s', For more information on this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : Microsoft.OData.ODataException: "

// parse checks one property of a body; nil is right.
func (t table) parse(set, name string, v any) *answer {
	fail := func(a answer) *answer { return &a }
	property, bound := strings.CutSuffix(name, "@odata.bind")
	c, ok := t.column(property)
	switch {
	case bound && (!ok || c.kind != lookup):
		return fail(refuse(http.StatusBadRequest, "0x80048d19", payloadError+"An undeclared property '%s' which only has property annotations in the payload but no property value was found in the payload.", set, property))
	case !bound && (!ok || c.kind == lookup):
		return fail(refuse(http.StatusBadRequest, "0x80048d19", payloadError+"The property '%s' does not exist on type 'Microsoft.Dynamics.CRM.%s'. Make sure to only use property names that are defined by the type.", set, name, t.logical))
	case v == nil:
		return nil
	}
	s, isText := v.(string)
	_, isFlag := v.(bool)
	n, isNumber := v.(json.Number)
	expected := ""
	switch c.kind {
	case text, lookup:
		if !isText {
			expected = "Edm.String"
		}
	case flag:
		if !isFlag {
			expected = "Edm.Boolean"
		}
	case number, choice:
		if !isNumber {
			expected = "Edm.Int32"
		}
	case date:
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			expected = "Edm.Date"
		}
	}
	if expected != "" {
		return fail(refuse(http.StatusBadRequest, "0x80048d19", payloadError+"Cannot convert the literal '%v' to the expected type '%s'.", set, v, expected))
	}
	if c.length > 0 && len([]rune(s)) > c.length {
		return fail(refuse(http.StatusBadRequest, "0x80044331", "A validation error occurred.  The length of the '%s' attribute of the '%s' entity exceeded the maximum allowed length of '%d'.", name, t.logical, c.length))
	}
	if value, err := n.Int64(); c.kind == choice && (err != nil || !slices.Contains(c.values, int(value))) {
		return fail(refuse(http.StatusBadRequest, "0x8004431a", "A validation error occurred. The value %v of '%s' on record of type '%s' is outside the valid range. Accepted Values: %s", v, name, t.logical, fmt.Sprint(c.values)))
	}
	return nil
}
