package config

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// long bounds every duration that has no closer bound: ten years.
const long = 3650 * 24 * time.Hour

// config reads the top level.
func (p *parser) config(c *Config, body *hclsyntax.Body) {
	r := &reader{p: p, body: body, what: top}
	for _, b := range body.Blocks { // for what is missing altogether
		r.header = b.TypeRange
		break
	}
	p.log(c, r.single("log"))
	p.listener(c, r.single("listener"))
	p.admin(c, r.single("admin"))
	p.store(c, r.each("store", "TYPE"))
	dir := r.text("plugin_dir")
	if !dir.set {
		dir.string = "plugins.d"
	}
	c.PluginDir = resolve(p.dir, dir.string)
	p.plugins(c, r.each("plugin", "TYPE"))
	p.sources(c, r.each("source", "NAME"))
	p.names(c, r.each("option", "NAME"), r.each("preference", "NAME"))
	p.lookups(c, r.each("lookup", "KIND", "NAME"))
	base := p.retry(r.single("retry"), defaultRetry)
	p.targets(c, r.each("target", "TYPE", "NAME"), base, p.fuse(r.single("fuse")))
	p.rules(c, r.each("rule", "NAME"))
	p.deadLetter(c, r.single("dead_letter"))
	p.encryption(c, r.single("encryption"))
	p.retention(c, r.single("retention"))
	p.telemetry(c, r.single("telemetry"))
	p.reconcile(c, r.single("reconcile"))
	c.WithdrawalSLO = r.duration("withdrawal_slo", time.Minute, time.Second, long)
	r.done()
}

func (p *parser) log(c *Config, r *reader) {
	c.Log = Log{Level: "info", Format: "json"}
	if r == nil {
		return
	}
	c.Log.Level = r.oneOf("level", c.Log.Level, "trace", "debug", "info", "warn", "error")
	c.Log.Format = r.oneOf("format", c.Log.Format, "json", "text")
	r.done()
}

const (
	defaultAddress      = "127.0.0.1:8484"
	defaultAdminAddress = "127.0.0.1:8485"
	unixScheme          = "unix://"
)

func (p *parser) listener(c *Config, r *reader) {
	c.Listener = Listener{Address: defaultAddress, MaxBodySize: 1 << 20}
	if r == nil {
		return
	}
	if address := r.text("address"); address.set {
		p.hostPort(r, address)
		c.Listener.Address = address.string
	}
	c.Listener.MaxBodySize = r.size("max_body_size", c.Listener.MaxBodySize, 1<<10, 64<<20, `"1KiB" to "64MiB"`)
	c.Listener.TLS = p.tls(r.single("tls"))
	r.done()
}

// hostPort checks an address to listen on.
func (p *parser) hostPort(r *reader, address text) {
	_, port, err := net.SplitHostPort(address.string)
	if n, numErr := strconv.Atoi(port); err != nil || numErr != nil || n < 0 || n > 65535 {
		r.error(address.at, "Not an address", "In %s, %q must be a host and a port. Write \"127.0.0.1:8484\", or \":8484\" for every interface.", r.what, "address")
	}
}

func (p *parser) tls(r *reader) *tls.Config {
	if r == nil {
		return nil
	}
	cert := r.need("cert_file", `"/etc/consentd/tls.crt"`)
	key := r.need("key_file", `"/etc/consentd/tls.key"`)
	ca := r.text("client_ca_file")
	r.done()
	if !cert.set || !key.set {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	certPEM, ok := p.readFile(r, cert, "cert_file")
	keyPEM, keyOK := p.readFile(r, key, "key_file")
	if ok && keyOK {
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			r.error(cert.at, "Certificate cannot be used", "The files in cert_file and key_file do not make a pair: %v. Write the PEM certificate with its chain, and the PEM key that belongs to it.", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if ca.set {
		if pem, ok := p.readFile(r, ca, "client_ca_file"); ok {
			conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			if !conf.ClientCAs.AppendCertsFromPEM(pem) {
				r.error(ca.at, "Certificate cannot be used", "The file in client_ca_file holds no PEM certificate. Write the file of the authority that signs the clients' certificates.")
			}
		}
	}
	return conf
}

func (p *parser) readFile(r *reader, name text, attribute string) ([]byte, bool) {
	content, err := os.ReadFile(resolve(p.dir, name.string))
	if err != nil {
		r.error(name.at, "File cannot be read", "The file %s of %q: %v. A relative path starts at the configuration's directory.", name.shown(), attribute, withoutPath(err))
		return nil, false
	}
	return content, true
}

func (p *parser) store(c *Config, found []*reader) {
	c.Store = Store{Type: "sqlite", Path: resolve(p.dir, "consentd.db")}
	for i, r := range found {
		if i > 0 {
			r.error(r.header, "Block stands twice", "There is one store, and the first is at %s. Keep one of them.", place(found[0].header))
			continue
		}
		switch r.labels[0] {
		case "sqlite":
			if path := r.text("path"); path.set {
				if path.string == "" {
					r.error(path.at, "Empty value", "The store needs a file. Write path = \"/var/lib/consentd/consentd.db\".")
				}
				c.Store.Path = resolve(p.dir, path.string)
			}
			r.done()
		case "postgres":
			p.postgres(c, r)
		default:
			r.error(r.labelRanges[0], "Unknown store", "There is no store %q. Write store \"sqlite\" { path = \"consentd.db\" }, or store \"postgres\" { dsn = env(\"CONSENTD_DSN\") }.", r.labels[0])
		}
	}
}

var (
	pluginType = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (p *parser) plugins(c *Config, found []*reader) {
	c.Plugins = map[string]Plugin{}
	for _, r := range found {
		name := r.labels[0]
		if !pluginType.MatchString(name) {
			r.error(r.labelRanges[0], "Not a plugin type", "A type is lower-case letters, digits, - and _, as in the file name consentd-plugin-TYPE. Write plugin \"acme\".")
		}
		var plugin Plugin
		sums, at := r.texts("sha256")
		for _, s := range sums {
			if !sha256Hex.MatchString(s.string) {
				r.error(s.at, "Not a SHA-256 sum", "A sum is 64 hexadecimal digits. Write what consentd plugin sum FILE prints.")
				continue
			}
			plugin.SHA256 = append(plugin.SHA256, strings.ToLower(s.string))
		}
		if len(sums) == 0 && !r.absent("sha256") { // a bundled plugin needs none
			r.error(at, "Plugin is not pinned", "In %s, %q is empty. Write sha256 = [\"...\"], with what consentd plugin sum FILE prints.", r.what, "sha256")
		}
		names, _ := r.texts("env")
		for _, n := range names {
			if !envName.MatchString(n.string) {
				r.error(n.at, "Not a variable's name", "List the names of the environment variables that the plugin may see, without their values. Write env = [\"HTTPS_PROXY\"].")
				continue
			}
			plugin.Env = append(plugin.Env, n.string)
		}
		plugin.Memory = r.size("memory", 0, 32<<20, 1<<40, `"32MiB" to "1024GiB"`)
		plugin.Files = r.integer("files", 0, 16, 1_000_000)
		plugin.Processes = r.integer("processes", 0, 1, 10_000)
		plugin.Read = r.paths("read")
		plugin.Write = r.paths("write")
		r.done()
		if p.first("plugin", name, r.header) {
			c.Plugins[name] = plugin
		}
	}
}

var defaultRetry = Retry{
	InitialInterval: time.Second,
	Multiplier:      2,
	MaxInterval:     10 * time.Minute,
	Jitter:          0.3,
	MaxElapsedTime:  72 * time.Hour,
}

// retry reads a retry block; what it leaves out is as in base.
func (p *parser) retry(r *reader, base Retry) Retry {
	if r == nil {
		return base
	}
	base.InitialInterval = r.duration("initial_interval", base.InitialInterval, time.Millisecond, 24*time.Hour)
	base.Multiplier = r.number("multiplier", base.Multiplier, 1, 100)
	base.MaxInterval = r.duration("max_interval", base.MaxInterval, time.Millisecond, 7*24*time.Hour)
	base.Jitter = r.number("jitter", base.Jitter, 0, 1)
	base.MaxAttempts = r.integer("max_attempts", base.MaxAttempts, 0, 1_000_000)
	base.MaxElapsedTime = r.duration("max_elapsed_time", base.MaxElapsedTime, 0, long)
	if base.InitialInterval > base.MaxInterval {
		r.error(r.header, "Intervals the wrong way round", "In %s, initial_interval is larger than max_interval. Write a max_interval that is not smaller.", r.what)
	}
	r.done()
	return base
}

func (p *parser) deadLetter(c *Config, r *reader) {
	c.DeadLetter = DeadLetter{RetryEvery: time.Hour, Retain: 90 * 24 * time.Hour}
	if r == nil {
		return
	}
	c.DeadLetter.RetryEvery = r.duration("retry_every", c.DeadLetter.RetryEvery, 0, long)
	c.DeadLetter.Retain = r.duration("retain", c.DeadLetter.Retain, time.Minute, long)
	r.done()
}

// identifier checks a name that traversals refer to.
func (p *parser) identifier(r *reader, label int) {
	if name := r.labels[label]; !hclsyntax.ValidIdentifier(name) {
		r.error(r.labelRanges[label], "Not a name", "A name begins with a letter and goes on with letters, digits, _ and -, since rules write it without quotes. Write something like \"newsletter_email\".")
	}
}
