package cli

import (
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/host"
)

// description is a plugin's description as JSON.
type description struct {
	Type    string `json:"type"`
	Version string `json:"version"`
	Doc     string `json:"doc"`
	Config  schema `json:"config"`
	Record  schema `json:"record"`
	Limits  limits `json:"limits"`
}

type limits struct {
	MaxBatch    int `json:"max_batch"`
	MaxInFlight int `json:"max_in_flight"`
}

type schema struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]block     `json:"blocks"`
}

type attribute struct {
	Type      string   `json:"type"`
	Doc       string   `json:"doc"`
	Required  bool     `json:"required"`
	Sensitive bool     `json:"sensitive"`
	Enum      []string `json:"enum,omitempty"`
	Default   string   `json:"default,omitempty"`
}

type block struct {
	Doc      string `json:"doc"`
	Required bool   `json:"required"`
	Repeated bool   `json:"repeated"`
	Body     schema `json:"body"`
}

func descriptionOf(d host.Description) description {
	return description{d.Type, d.Version, d.Doc, schemaOf(d.Config), schemaOf(d.Record), limits(d.Limits)}
}

func schemaOf(s sdk.Schema) schema {
	out := schema{map[string]attribute{}, map[string]block{}}
	for name, a := range s.Attributes {
		out.Attributes[name] = attribute(a)
	}
	for name, b := range s.Blocks {
		out.Blocks[name] = block{b.Doc, b.Required, b.Repeated, schemaOf(b.Body)}
	}
	return out
}
