package config

import (
	"net/url"
	"strings"
)

// Telemetry says where traces go.
type Telemetry struct {
	OTLP *OTLP // nil: nowhere
	// SampleRatio is the part of updates that is followed, 0 to 1.
	SampleRatio float64
}

// OTLP is an endpoint of the OpenTelemetry protocol.
type OTLP struct {
	Endpoint string // an http or https URL
	Protocol string // http/protobuf, grpc
	Headers  map[string]string
}

func (p *parser) telemetry(c *Config, r *reader) {
	if r == nil {
		return
	}
	c.Telemetry.SampleRatio = r.number("sample_ratio", 0.1, 0, 1)
	c.Telemetry.OTLP = p.otlp(r.single("otlp"))
	if c.Telemetry.OTLP == nil {
		r.error(r.header, "Missing block", "In %s, %q is missing, so nothing would be traced. Add otlp { endpoint = \"http://127.0.0.1:4318\" }, or remove the block.", r.what, "otlp")
	}
	r.done()
}

func (p *parser) otlp(r *reader) *OTLP {
	if r == nil {
		return nil
	}
	endpoint := r.need("endpoint", `"http://127.0.0.1:4318"`)
	insecure, _ := r.boolean("insecure")
	o := &OTLP{Endpoint: endpoint.string, Protocol: r.oneOf("protocol", "http/protobuf", "http/protobuf", "grpc"), Headers: map[string]string{}}
	for name, values := range p.headers(r) {
		o.Headers[name] = strings.Join(values, ",")
	}
	r.done()
	if !endpoint.set {
		return o
	}
	u, err := url.Parse(endpoint.string)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		r.error(endpoint.at, "Not an address", "In %s, %q is an http or https URL without credentials and query. Write endpoint = \"http://127.0.0.1:4318\"; credentials go into headers.", r.what, "endpoint")
	case o.Protocol == "grpc" && strings.Trim(u.Path, "/") != "":
		r.error(endpoint.at, "Not an address", "In %s, gRPC has no paths. Write endpoint = \"%s://%s\".", r.what, u.Scheme, u.Host)
	case u.Scheme == "http" && !insecure && !private(withPort(u)):
		r.error(endpoint.at, "Traces would go in clear", "In %s, the address begins with http:// and is not on this machine. Write https://, or add insecure = true.", r.what)
	}
	return o
}

// withPort is where a URL leads, with a port.
func withPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":0"
	}
	return u.Host
}
