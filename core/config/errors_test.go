package config

import (
	"strings"
	"testing"
)

// inSource puts lines into a source that is complete but for them.
func inSource(lines string) string {
	return "source \"s\" {\nupdate_type = \"effective-permission\"\n" + lines + "\n}"
}

func inAuth(mode, lines string) string {
	return inSource("path = \"/in\"\nauth \"" + mode + "\" {\n" + lines + "\n}")
}

const target = "target \"file\" \"out\" {\n}\n"

const source = "source \"in\" {\npath = \"/in\"\nupdate_type = \"effective-permission\"\nauth \"none\" {}\n}\n"

// Each case is a configuration and its only diagnostic, or a part of that: where, what, and what to
// write instead.
func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		// Typos: a block, an attribute, a value out of a list, a function, a reference.
		"block":               {"listner {\n}", `main.hcl:1,1-8: Unknown block: There is no block "listner" in the configuration. Did you mean "listener"?`},
		"attribute":           {"log {\n  levl = \"info\"\n}", `main.hcl:2,3-7: Unknown attribute: There is no attribute "levl" in log. Did you mean "level"?`},
		"nested":              {target[:len(target)-2] + "retry {\nmax_atempts = 1\n}\n}", `main.hcl:3,1-12: Unknown attribute: There is no attribute "max_atempts" in retry of target "file" "out". Did you mean "max_attempts"?`},
		"value":               {"log {\n  level = \"inof\"\n}", `main.hcl:2,11-17: Unknown value: In log, "level" cannot be "inof". Did you mean "info"?`},
		"function":            {"plugin_dir = tirm(\" x\")", `main.hcl:1,14-18: Unknown function: There is no function named "tirm". Did you mean "trim"?`},
		"static function":     {"plugin_dir = evn(\"X\")", `main.hcl:1,14-17: Unknown function: There is no function named "evn". Did you mean "env"?`},
		"secret, no quotes":   {inAuth("token", "tokens = [supersecret]"), `main.hcl:5,11-22: Unknown name: There is nothing named (sensitive) here. If it is meant as text, write it in quotes: (sensitive).`},
		"no text":             {"log {\n}\x00", `Not a configuration: "main.hcl" is no HCL file: it holds NUL bytes. Name a *.hcl file, or a directory of them.`},
		"no UTF-8":            {"log {\n# \xe9\n}$$", `Not a configuration: "main.hcl" is no HCL file: line 2 is not UTF-8 text.`},
		"source reference":    {source + target + "rule \"r\" {\nsource = source.inn\ntarget = target.out\nrecord {}\n}", `main.hcl:9,17-20: Unknown source: There is no source "inn". Did you mean "in"?`},
		"target reference":    {source + target + "rule \"r\" {\nsource = source.in\ntarget = target.ouut\nrecord {}\n}", `main.hcl:10,17-21: Unknown target: There is no target "ouut". Did you mean "out"?`},
		"reference in quotes": {source + target + "rule \"r\" {\nsource = \"in\"\ntarget = target.out\nrecord {}\n}", `main.hcl:9,10-14: Not a reference: In rule "r", "source" refers to a block by its name. Did you mean source = source.in?`},
		"bare reference":      {source + target + "rule \"r\" {\nsource = in\ntarget = target.out\nrecord {}\n}", `Did you mean source = source.in?`},
		"wrong reference":     {source + target + "rule \"r\" {\nsource = target.out\ntarget = target.out\nrecord {}\n}", `main.hcl:9,10-20: Not a reference: In rule "r", "source" refers to a block by its name. Write source = source.in, without quotes.`},
		"nothing to refer to": {source + "rule \"r\" {\nsource = source.in\ntarget = target.out\nrecord {}\n}", `main.hcl:8,17-20: Unknown target: There is no target "out". Add a block target "TYPE" "out" { ... } for it.`},
		"auth":                {inAuth("apikey", ""), `main.hcl:4,6-14: Unknown auth: There is no auth "apikey". Did you mean "api_key"?`},
		"justification":       {"option \"o\" {\nid = \"x\"\njustification = \"consnt\"\n}", `main.hcl:3,17-25: Unknown value: In option "o", "justification" cannot be "consnt". Did you mean "consent"?`},

		// Shape.
		"no quotes":          {"log {\nlevel = info\n}", `main.hcl:2,9-13: Unknown name: There is nothing named "info" here. If it is meant as text, write it in quotes: "info".`},
		"citizen":            {"plugin_dir = citizen.id", `What is known of a citizen can be read in rule blocks only.`},
		"block as attribute": {"log = {}", `main.hcl:1,1-4: Block written as an attribute: In the configuration, "log" is a block. Write log { ... }, without the equals sign.`},
		"attribute as block": {"plugin_dir {\n}", `main.hcl:1,1-11: Attribute written as a block: In the configuration, "plugin_dir" is an attribute. Write plugin_dir = ..., with an equals sign.`},
		"no label":           {"source {\n}", `main.hcl:1,1-7: Wrong number of labels: The block "source" takes 1 labels. Write source "NAME" { ... }.`},
		"one label too many": {"log \"x\" {\n}", `main.hcl:1,5-8: Wrong number of labels: The block "log" takes 0 labels. Write log { ... }.`},
		"wrong type":         {"log {\nlevel = [\"info\"]\n}", `main.hcl:2,9-17: Wrong value: This is for "level" in log. It must be a string; this is a list. Write a string, in quotes: "...".`},
		"same option twice":  {"option \"a\" { id = \"1\" }\noption \"a\" { id = \"2\" }", `main.hcl:2,1-11: Same option twice: The option "a" is already at main.hcl:1,1.`},
		"same rule twice":    {source + target + strings.Repeat("rule \"r\" {\nsource = source.in\ntarget = target.out\nrecord {}\n}\n", 2), `main.hcl:13,1-9: Same rule twice: The rule "r" is already at main.hcl:8,1.`},
		"not an identifier":  {"option \"a b\" { id = \"1\" }", `main.hcl:1,8-13: Not a name: A name begins with a letter`},
		"no record":          {source + target + "rule \"r\" {\nsource = source.in\ntarget = target.out\n}", `main.hcl:8,1-9: Missing block: In rule "r", "record" is missing. Add record { ... }`},
		"no source":          {source + target + "rule \"r\" {\ntarget = target.out\nrecord {}\n}", `main.hcl:8,1-9: Missing attribute: In rule "r", "source" is missing. Add source = source.in.`},
		"syntax":             {"log {\n", `main.hcl:1,5-6: Unclosed configuration block`},

		// Listener and admin.
		"address":             {"listener {\naddress = \"8484\"\n}", `main.hcl:2,11-17: Not an address`},
		"size":                {"listener {\nmax_body_size = \"1 mb\"\n}", `main.hcl:2,17-23: Not a size: In listener, "max_body_size" cannot be "1 mb". Write a number and a unit: "512KiB"`},
		"size too small":      {"listener {\nmax_body_size = 10\n}", `must be from "1KiB" to "64MiB"`},
		"tls half":            {"listener {\ntls {\nkey_file = \"/k\"\n}\n}", `main.hcl:2,1-4: Missing attribute: In tls of listener, "cert_file" is missing. Add cert_file = "/etc/consentd/tls.crt".`},
		"admin without token": {"admin {\naddress = \"0.0.0.0:8485\"\n}", `main.hcl:2,11-25: Admin listener without a token: The address is neither loopback nor a unix socket, so others can reach it. Add token = env("CONSENTD_ADMIN_TOKEN"), or an access block, or client_ca_file in a tls block, or write "127.0.0.1:8485".`},
		"admin on all":        {"admin {\naddress = \":8485\"\n}", `Admin listener without a token`},
		"admin, token null":   {"admin {\naddress = \":8485\"\ntoken = null\n}", `main.hcl:2,11-18: Admin listener without a token`},
		"admin, token wrong":  {"admin {\naddress = \":8485\"\ntoken = env(\"NOWHERE\")\n}", `main.hcl:3,9-13: Value not available`},
		"null path":           {inSource("path = null\nauth \"none\" {}"), `main.hcl:1,1-11: Missing attribute: In source "s", "path" is missing.`},
		"null keys":           {inAuth("token", "tokens = null"), `main.hcl:4,1-13: Missing attribute: In auth "token" of source "s", "tokens" is missing.`},
		"admin by name":       {"admin {\naddress = \"localhost:8485\"\n}", ""},
		"admin on IPv6":       {"admin {\naddress = \"[::1]:8485\"\n}", ""},
		"admin on a socket":   {"admin {\naddress = \"unix:///run/a.sock\"\n}", ""},
		"admin with token":    {"admin {\naddress = \":8485\"\ntoken = env(\"CONSENTD_ADMIN_TOKEN\")\n}", ""},
		"access by sum":       {"admin {\naddress = \":8485\"\naccess \"a\" {\nrole = \"read\"\nsha256 = [\"" + strings.Repeat("aB", 32) + "\"]\n}\n}", ""},
		"access, no role":     {"admin {\naccess \"a\" {\ntokens = [\"x\"]\n}\n}", `main.hcl:2,1-11: Missing attribute: In access "a", "role" is missing. Add role = "read"`},
		"access, role":        {"admin {\naccess \"a\" {\nrole = \"operater\"\ntokens = [\"x\"]\n}\n}", `main.hcl:3,8-18: Unknown value: In access "a", "role" cannot be "operater". Did you mean "operator"?`},
		"access by nothing":   {"admin {\naddress = \":8485\"\naccess \"a\" {\nrole = \"read\"\ntokens = [env(\"EMPTY\")]\n}\n}", `main.hcl:3,1-11: No access is left: In access "a", nothing says how one comes in. Add sha256`},
		"access, sum":         {"admin {\naccess \"a\" {\nrole = \"read\"\nsha256 = [\"abc\"]\n}\n}", `main.hcl:4,11-16: Not a SHA-256 sum: A sum is 64 hexadecimal digits. Write what ` + "`consentd token create` prints."},
		"access twice":        {"admin {\naccess \"a\" {\nrole = \"read\"\ntokens = [\"x\"]\n}\naccess \"a\" {\nrole = \"read\"\ntokens = [\"y\"]\n}\n}", `main.hcl:6,1-11: Same access twice`},
		"access, same token":  {"admin {\ntoken = \"x\"\naccess \"a\" {\nrole = \"read\"\ntokens = [\"x\"]\n}\n}", `main.hcl:5,11-14: Same token twice: In access "a", this token is already at main.hcl:2,9.`},
		"access, certificate": {"admin {\naccess \"a\" {\nrole = \"read\"\ncertificates = [\"c\", \"c\"]\n}\n}", `main.hcl:4,22-25: Same certificate twice`},
		"access, name":        {"admin {\naccess \"a b\" {\nrole = \"read\"\ntokens = [\"x\"]\n}\n}", `main.hcl:2,8-13: Not a name`},
		"audit nowhere":       {"admin {\naudit_file = \"\"\n}", `main.hcl:2,14-16: Empty value: In admin, "audit_file" is empty.`},
		"relative socket":     {"admin {\naddress = \"unix://a.sock\"\n}", `A unix socket needs an absolute path.`},
		"empty token":         {"admin {\naddress = \":8485\"\ntoken = env(\"EMPTY\")\n}", `main.hcl:3,9-21: Empty value: The admin token is empty, which would let everybody in.`},
		"same address":        {"admin {\naddress = \"127.0.0.1:8484\"\n}", `Same address twice`},

		// Store and plugins.
		"postgres":       {"store \"postgres\" {\nlease = \"1m\"\n}", `main.hcl:1,1-17: Missing attribute: In store "postgres", "dsn" is missing. Add dsn = env("CONSENTD_DSN").`},
		"postgres lease": {"store \"postgres\" {\ndsn = \"x\"\nlease = \"1s\"\n}", `main.hcl:3,9-13: Duration out of range: In store "postgres", "lease" must be from "3s" to "1h".`},
		"unknown store":  {"store \"bolt\" {\n}", `main.hcl:1,7-13: Unknown store`},
		"two stores":     {"store \"sqlite\" {\n}\nstore \"sqlite\" {\n}", `main.hcl:3,1-15: Block stands twice: There is one store, and the first is at main.hcl:1,1.`},
		"sum":            {"plugin \"acme\" {\nsha256 = [\"abc\"]\n}", `main.hcl:2,11-16: Not a SHA-256 sum: A sum is 64 hexadecimal digits. Write what consentd plugin sum FILE prints.`},
		"bundled":        {"plugin \"file\" {\nmemory = \"1GiB\"\nfiles = 64\nprocesses = 1\nread = []\nwrite = [\"x\", \"/y\"]\n}", ""},
		"memory":         {"plugin \"file\" {\nmemory = \"1MiB\"\n}", `main.hcl:2,10-16: Size out of range: In plugin "file", "memory" must be from "32MiB" to "1024GiB".`},
		"no processes":   {"plugin \"file\" {\nprocesses = 0\n}", `main.hcl:2,13-14: Number out of range`},
		"no path":        {"plugin \"file\" {\nwrite = [\"\"]\n}", `main.hcl:2,10-12: Empty value: In plugin "file", "write" names folders and files.`},
		"pinned by none": {"plugin \"acme\" {\nsha256 = []\n}", `main.hcl:2,10-12: Plugin is not pinned`},
		"env":            {"plugin \"acme\" {\nsha256 = [\"" + strings.Repeat("aB", 32) + "\"]\nenv = [\"A=b\"]\n}", `main.hcl:3,8-13: Not a variable's name`},
		"plugin type":    {"plugin \"Acme\" {\nsha256 = [\"" + strings.Repeat("aB", 32) + "\"]\n}", `main.hcl:1,8-14: Not a plugin type`},

		// Keys and retention.
		"no encryption keys": {"encryption {\n}", `main.hcl:1,1-11: Missing attribute: In encryption, "keys" is missing. Add keys = [env("CONSENTD_KEY")]. Make one with: openssl rand -base64 32.`},
		"no key is left":     {"encryption {\nkeys = [env(\"EMPTY\"), env(\"NONE\", \"\")]\n}", `main.hcl:2,8-39: No key is left: In encryption, every entry of "keys" is empty, so nothing would be sealed.`},
		"short key":          {"encryption {\nkeys = [\"" + strings.Repeat("ab", 32) + "\", \"c2hvcnQ=\"]\n}", `main.hcl:2,77-87: Not an encryption key: In encryption, the entry 2 of "keys" is not 32 bytes in base64 or hex. Make one with: openssl rand -base64 32.`},
		"key from a word":    {"encryption {\nkeys = [env(\"CPM_KEY\")]\n}", `main.hcl:2,9-23: Not an encryption key`},
		"same key":           {"encryption {\nkeys = [\"" + strings.Repeat("00", 32) + "\", \"" + strings.Repeat("A", 43) + "=\"]\n}", `main.hcl:2,77-123: Same key twice: In encryption, this is the key that is already at main.hcl:2,9. Remove one of the two`},
		"good keys":          {"encryption {\nkeys = [\"" + strings.Repeat("0F", 32) + "\", \"" + strings.Repeat("_-", 21) + "8\"]\n}", ""},
		"two encryptions":    {"encryption {\nkeys = [\"" + strings.Repeat("0F", 32) + "\"]\n}\nencryption {}", `main.hcl:4,1-11: Block stands twice`},
		"short retention":    {"retention {\nreceipts = \"1s\"\n}", `main.hcl:2,12-16: Duration out of range: In retention, "receipts" must be at least "1m". Write "0" to keep for ever.`},
		"kept for ever":      {"retention {\nquarantine = \"0\"\nreceipts = \"365d\"\n}", ""},
		"retention of what":  {"retention {\nquarantined = \"0\"\n}", `Did you mean "quarantine"?`},

		// Sources.
		"no update type":    {"source \"s\" {\npath = \"/in\"\nauth \"none\" {}\n}", `main.hcl:1,1-11: Missing attribute: In source "s", "update_type" is missing. Add update_type = "effective-permission".`},
		"update type":       {"source \"s\" {\npath = \"/in\"\nupdate_type = \"effective-permissions\"\nauth \"none\" {}\n}", `main.hcl:3,15-38: Unknown value: In source "s", "update_type" cannot be "effective-permissions". Did you mean "effective-permission"?`},
		"citizen-emails":    {"source \"s\" {\npath = \"/in\"\nupdate_type = \"citizen-emails\"\nauth \"none\" {}\n}", `main.hcl:3,15-31: Update type is not served: A citizen-emails subscription sends whole e-mails`},
		"relative path":     {inSource("path = \"in\"\nauth \"none\" {}"), `main.hcl:3,8-12: Not a path`},
		"path with query":   {inSource("path = \"/in?x\"\nauth \"none\" {}"), `Not a path`},
		"path with braces":  {inSource("path = \"/{in}\"\nauth \"none\" {}"), `Not a path`},
		"no auth":           {inSource("path = \"/in\""), `main.hcl:1,1-11: Missing block: In source "s", "auth" is missing. Add auth "api_key"`},
		"two auths":         {inSource("path = \"/in\"\nauth \"none\" {}\nauth \"none\" {}"), `main.hcl:5,1-12: Block stands twice: There is one block "auth" in source "s", and the first is at main.hcl:4,1. Keep one of them.`},
		"same path":         {source + strings.Replace(source, `"in"`, `"again"`, 1), `main.hcl:7,8-13: Path is taken: The path "/in" is already in use at main.hcl:2,8. Give this one another.`},
		"token endpoint":    {source + inSource("path = \"/in2\"\nauth \"oauth2\" {\ntoken_path = \"/in\"\nrefresh_tokens = [\"a\"]\n}"), `main.hcl:10,14-19: Path is taken`},
		"default endpoint":  {strings.Replace(source, `"/in"`, `"/in2/oauth/token"`, 1) + inSource("path = \"/in2\"\nauth \"oauth2\" {\nrefresh_tokens = [\"a\"]\n}"), `main.hcl:9,1-14: Path is taken`},
		"own endpoint":      {inAuth("oauth2", "token_path = \"/in\"\nrefresh_tokens = [\"a\"]"), `main.hcl:5,14-19: Path is taken: The path "/in" is already in use at main.hcl:3,8.`},
		"header and query":  {inAuth("api_key", "header = \"X\"\nquery = \"x\"\nkeys = [\"a\"]"), `main.hcl:6,9-12: Key in two places`},
		"neither":           {inAuth("api_key", "keys = [\"a\"]"), `main.hcl:4,1-15: Missing attribute: In auth "api_key" of source "s", neither header nor query says where the key stands. Add header = "X-API-Key".`},
		"no keys":           {inAuth("api_key", "header = \"X\""), `main.hcl:4,1-15: Missing attribute: In auth "api_key" of source "s", "keys" is missing. Add keys = [env("CPM_KEY")].`},
		"empty keys":        {inAuth("api_key", "header = \"X\"\nkeys = [env(\"EMPTY\"), env(\"NONE\", \"\")]"), `main.hcl:6,8-39: No secret is left: In auth "api_key" of source "s", every entry of "keys" is empty, so nobody could get in.`},
		"header name":       {inAuth("api_key", "header = \"X Key\"\nkeys = [\"a\"]"), `main.hcl:5,10-17: Not a header`},
		"token twice":       {inAuth("token", "header = \"X\"\nquery = \"x\"\ntokens = [\"a\"]"), `main.hcl:6,9-12: Token in two places`},
		"keys for token":    {inAuth("token", "tokens = [\"a\"]\nkeys = [\"a\"]"), `main.hcl:6,1-5: Unknown attribute: There is no attribute "keys" in auth "token" of source "s".`},
		"three tokens":      {inAuth("oauth2", "refresh_tokens = [\"a\", \"b\", \"c\"]"), `main.hcl:5,18-33: Too many refresh tokens`},
		"half a client":     {inAuth("oauth2", "refresh_tokens = [\"a\"]\nclient_id = \"x\""), `main.hcl:4,1-14: Half of the client's credentials`},
		"lifetime":          {inAuth("oauth2", "refresh_tokens = [\"a\"]\ntoken_lifetime = \"4\""), `main.hcl:6,18-21: Not a duration: In auth "oauth2" of source "s", "token_lifetime" cannot be "4". Write a number and a unit`},
		"variable not set":  {inAuth("token", "tokens = [env(\"CPM_TOKN\")]"), `main.hcl:5,11-15: Value not available: The environment variable "CPM_TOKN" is not set: set it, or write a default, env(NAME, "").`},
		"file not there":    {"plugin_dir = file(\"nowhere\")", `Value not available: The file "nowhere" cannot be read: no such file or directory; a relative path starts at the configuration's directory.`},
		"no credentials":    {"plugin_dir = credential(\"x\")", `CREDENTIALS_DIRECTORY is not set`},
		"not a number":      {"retry {\nmax_attempts = tonumber(env(\"CPM_KEY\"))\n}", `main.hcl:2,25-29: Invalid function argument: This reads a sensitive value, so nothing more can be said here.`},
		"sensitive choice":  {"log {\nlevel = env(\"CPM_KEY\")\n}", `main.hcl:2,9-23: Unknown value: In log, "level" cannot be (sensitive). Write one of "debug", "error", "info", "trace" or "warn".`},
		"sensitive in path": {"plugin_dir = file(env(\"CPM_KEY\"))", `The file (sensitive) cannot be read`},

		// Targets, retry, dead letters.
		"rate":               {"target \"file\" \"x\" {\nrate_limit = \"10\"\n}", `main.hcl:2,14-18: Not a rate: In target "file" "x", "rate_limit" cannot be "10". Write a number per second, minute, hour or day: "10/s"`},
		"in flight":          {"target \"file\" \"x\" {\nmax_in_flight = 0\n}", `"max_in_flight" must be a whole number from 1 to 1000.`},
		"in flight, half":    {"target \"file\" \"x\" {\nmax_in_flight = 1.5\n}", `"max_in_flight" must be a whole number`},
		"timeout":            {"target \"file\" \"x\" {\ntimeout = \"2h\"\n}", `Duration out of range: In target "file" "x", "timeout" must be from "1ms" to "1h".`},
		"multiplier":         {"retry {\nmultiplier = 0.5\n}", `"multiplier" must be from 1 to 100.`},
		"jitter":             {"retry {\njitter = 30\n}", `"jitter" must be from 0 to 1.`},
		"intervals":          {"retry {\ninitial_interval = \"1h\"\n}", `main.hcl:1,1-6: Intervals the wrong way round: In retry, initial_interval is larger than max_interval. Write a max_interval that is not smaller.`},
		"negative":           {"dead_letter {\nretry_every = \"-1h\"\n}", `Not a duration`},
		"two configs":        {"target \"file\" \"x\" {\nconfig {}\nconfig {}\n}", `main.hcl:3,1-7: Block stands twice`},
		"no option id":       {"option \"o\" {\n}", `main.hcl:1,1-11: Missing attribute: In option "o", "id" is missing. Add id = "k3Rmx".`},
		"preference by name": {"preference \"p\" {\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config, diags := parseText(c.text)
			got := render(diags)
			if c.want == "" {
				if got != "" {
					t.Errorf("unexpected: %s", got)
				}
				return
			}
			if len(diags) != 1 || !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if config == nil || len(config.Files) != 1 && diags[0].Subject != nil {
				t.Error("no files to write the diagnostics from")
			}
			for _, d := range diags {
				if d.Expression != nil || d.EvalContext != nil || d.Extra != nil {
					t.Error("the diagnostic carries more than text and place")
				}
			}
		})
	}
}

func TestManyMistakesAtOnce(t *testing.T) {
	_, diags := parseText(`
log { levl = "info" }
listener { address = "x" }
source "s" { path = "in" }
retry { jitter = 2 }
rule "r" {}
`)
	got := render(diags)
	for _, want := range []string{"2,7-11", "3,22-25", "4,1-11", "4,21-25", "5,18-19", "6,1-9"} {
		if !strings.Contains(got, "main.hcl:"+want) {
			t.Errorf("nothing at %s in\n%s", want, got)
		}
	}
}

func TestNothingThere(t *testing.T) {
	_, diags := Load("nowhere.hcl", getenv)
	if got := render(diags); got != `Configuration cannot be read: "nowhere.hcl": no such file or directory. Name a file or a directory of *.hcl files that this user may read.` {
		t.Error(got)
	}
	_, diags = Load(t.TempDir(), getenv)
	if got := render(diags); !strings.Contains(got, "holds no *.hcl file") {
		t.Error(got)
	}
}
