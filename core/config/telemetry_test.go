package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestTelemetry(t *testing.T) {
	if c := mustParse(t, ""); c.Telemetry.OTLP != nil {
		t.Errorf("without a block: %+v", c.Telemetry)
	}
	c := mustParse(t, "telemetry {\notlp {\nendpoint = \"https://otel.example.org\"\nheaders = { \"x-team\" = \"crm\" }\n}\n}")
	want := Telemetry{SampleRatio: 0.1, OTLP: &OTLP{Endpoint: "https://otel.example.org", Protocol: "http/protobuf", Headers: map[string]string{"X-Team": "crm"}}}
	if !reflect.DeepEqual(c.Telemetry, want) {
		t.Errorf("got %+v %+v", c.Telemetry, c.Telemetry.OTLP)
	}

	otlp := func(lines string) string { return "telemetry {\notlp {\n" + lines + "\n}\n}" }
	for name, tc := range map[string]struct{ text, want string }{
		"no otlp":     {"telemetry {\n}", `main.hcl:1,1-10: Missing block: In telemetry, "otlp" is missing, so nothing would be traced. Add otlp { endpoint = "http://127.0.0.1:4318" }, or remove the block.`},
		"no endpoint": {otlp(""), `main.hcl:2,1-5: Missing attribute: In otlp of telemetry, "endpoint" is missing. Add endpoint = "http://127.0.0.1:4318".`},
		"no URL":      {otlp(`endpoint = "localhost:4317"`), `main.hcl:3,12-28: Not an address: In otlp of telemetry, "endpoint" is an http or https URL`},
		"credentials": {otlp(`endpoint = "https://me:secret@otel.example.org"`), `credentials go into headers.`},
		"path":        {otlp("endpoint = \"https://otel.example.org/v1/traces\"\nprotocol = \"grpc\""), `Write endpoint = "https://otel.example.org".`},
		"in clear":    {otlp(`endpoint = "http://otel.example.org:4318"`), `main.hcl:3,12-42: Traces would go in clear: In otlp of telemetry, the address begins with http:// and is not on this machine. Write https://, or add insecure = true.`},
		"protocol":    {otlp("endpoint = \"http://[::1]\"\nprotocol = \"grcp\""), `main.hcl:4,12-18: Unknown value: In otlp of telemetry, "protocol" cannot be "grcp". Did you mean "grpc"?`},
		"ratio":       {"telemetry {\nsample_ratio = 10\notlp {\nendpoint = \"http://localhost\"\n}\n}", `"sample_ratio" must be from 0 to 1.`},
		"header":      {otlp("endpoint = \"http://localhost\"\nheaders = { \"a\" = \"b\\nc\" }"), `Not a header`},
	} {
		t.Run(name, func(t *testing.T) {
			_, diags := Parse(map[string][]byte{"main.hcl": []byte(tc.text)}, getenv)
			if text := render(diags); len(diags) != 1 || !strings.Contains(text, tc.want) {
				t.Errorf("%d diagnostics:\n%s\nwant %s", len(diags), text, tc.want)
			}
		})
	}
	mustParse(t, otlp("endpoint = \"http://otel.example.org:4318\"\ninsecure = true"))
}
