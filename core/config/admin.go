package config

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Admin is where operators and the command line come in.
type Admin struct {
	// Address is host:port, or unix:///path.
	Address string
	TLS     *tls.Config
	// Access is who comes in with what. Without any, and without certificates, everybody does who can reach the
	// address, which is this machine's own.
	Access []Access
	// AuditFile is empty when no audit is kept.
	AuditFile string
}

// Open is whether nobody has to show who they are.
func (a Admin) Open() bool { return len(a.Access) == 0 && !a.Certificates() }

// Certificates is whether a client's certificate lets it in.
func (a Admin) Certificates() bool { return a.TLS != nil && a.TLS.ClientCAs != nil }

// Role is what somebody may do at the admin address.
type Role string

// The roles. An operator may do everything; who reads sees how the daemon stands and nothing of a person.
const (
	RoleRead     Role = "read"
	RoleOperator Role = "operator"
)

// Access is one name under which somebody comes in.
type Access struct {
	// Name is empty for the attribute token of the admin block.
	Name string
	Role Role
	// Tokens are the SHA-256 sums of the tokens, any of which is right.
	Tokens [][sha256.Size]byte
	// Certificates are the names in client certificates.
	Certificates []string
}

func (p *parser) admin(c *Config, r *reader) {
	c.Admin = Admin{Address: defaultAdminAddress}
	if r == nil {
		return
	}
	address := r.text("address")
	path, socket := strings.CutPrefix(address.string, unixScheme)
	if address.set {
		c.Admin.Address = address.string
		if !socket {
			p.hostPort(r, address)
		} else if !strings.HasPrefix(path, "/") {
			r.error(address.at, "Not an address", "A unix socket needs an absolute path. Write \"unix:///run/consentd/admin.sock\".")
		}
	}
	token := r.text("token")
	switch {
	case token.set && token.string == "":
		r.error(token.at, "Empty value", "The admin token is empty, which would let everybody in. Write a long random value, or leave the attribute out where the address is loopback or a unix socket.")
	case token.set:
		c.Admin.Access = append(c.Admin.Access, Access{Role: RoleOperator, Tokens: [][sha256.Size]byte{sha256.Sum256([]byte(token.string))}})
	}
	p.access(c, r.each("access", "NAME"), token)
	if encrypted := r.single("tls"); encrypted != nil {
		if c.Admin.TLS = p.tls(encrypted); c.Admin.TLS != nil && c.Admin.TLS.ClientCAs != nil {
			// Probes and those with a token have none.
			c.Admin.TLS.ClientAuth = tls.VerifyClientCertIfGiven
		}
		if socket {
			r.error(encrypted.header, "TLS on a unix socket", "Nothing leaves this machine through a unix socket. Remove the tls block, or write an address such as \":8485\".")
		}
	}
	if audit := r.text("audit_file"); audit.set {
		if audit.string == "" {
			r.error(audit.at, "Empty value", "In %s, %q is empty. Write audit_file = \"/var/lib/consentd/audit.jsonl\", or leave it out.", r.what, "audit_file")
		}
		c.Admin.AuditFile = resolve(p.dir, audit.string)
	}
	if r.absent("token") && c.Admin.Open() && !private(c.Admin.Address) && !p.failedAt(r.body.Range()) {
		r.error(address.at, "Admin listener without a token",
			"The address is neither loopback nor a unix socket, so others can reach it. Add token = env(\"CONSENTD_ADMIN_TOKEN\"), or an access block, "+
				"or client_ca_file in a tls block, or write %q.", defaultAdminAddress)
	}
	if c.Admin.Address == c.Listener.Address && !strings.HasSuffix(c.Admin.Address, ":0") {
		r.error(r.header, "Same address twice", "The listener and admin both have this address. Give each its own.")
	}
	r.done()
}

// accessName stands in the audit and the log.
var accessName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$`)

// access reads the access blocks; token is the attribute beside them.
func (p *parser) access(c *Config, found []*reader, token text) {
	places := map[string]hcl.Range{}
	for _, a := range c.Admin.Access {
		places[string(a.Tokens[0][:])] = token.at
	}
	for _, r := range found {
		a := Access{Name: r.labels[0]}
		if !accessName.MatchString(a.Name) {
			r.error(r.labelRanges[0], "Not a name", "A name begins with a letter or a digit and goes on with letters, digits, and . _ @ -, since it stands in the audit. Write something like access \"dashboard\".")
		}
		a.Role = p.role(r)
		add := func(sum [sha256.Size]byte, at hcl.Range) {
			if before, taken := places[string(sum[:])]; taken {
				r.error(at, "Same token twice", "In %s, this token is already at %s. Give each name a token of its own; `consentd token create` makes one.", r.what, place(before))
				return
			}
			places[string(sum[:])] = at
			a.Tokens = append(a.Tokens, sum)
		}
		tokens, _ := r.texts("tokens")
		for _, t := range tokens {
			if t.string != "" { // env(NAME, "") is how one that may be missing is written
				add(sha256.Sum256([]byte(t.string)), t.at)
			}
		}
		sums, _ := r.texts("sha256")
		for _, s := range sums {
			if !sha256Hex.MatchString(s.string) {
				r.error(s.at, "Not a SHA-256 sum", "A sum is 64 hexadecimal digits. Write what `consentd token create` prints.")
				continue
			}
			sum, _ := hex.DecodeString(s.string)
			add([sha256.Size]byte(sum), s.at)
		}
		names, _ := r.texts("certificates")
		for _, n := range names {
			key := "certificate " + n.string
			switch before, taken := places[key]; {
			case n.string == "":
				r.error(n.at, "Empty value", "In %s, %q lists the common names of client certificates. Write certificates = [\"ops.example.org\"].", r.what, "certificates")
			case taken:
				r.error(n.at, "Same certificate twice", "In %s, this name is already at %s. Remove one of the two.", r.what, place(before))
			default:
				places[key] = n.at
				a.Certificates = append(a.Certificates, n.string)
			}
		}
		if len(a.Tokens)+len(a.Certificates) == 0 && !p.failedAt(r.body.Range()) {
			r.error(r.header, "No access is left", "In %s, nothing says how one comes in. Add sha256 = [\"...\"] with what `consentd token create` prints, or tokens = [env(\"CONSENTD_ADMIN_TOKEN\")], and set the variable.", r.what)
		}
		r.done()
		if p.first("access", a.Name, r.header) {
			c.Admin.Access = append(c.Admin.Access, a)
		}
	}
}

func (p *parser) role(r *reader) Role {
	if r.absent("role") {
		r.attributes = append(r.attributes, "role")
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add role = \"read\", or \"operator\" for those who may change things and see personal data.", r.what, "role")
		return RoleRead
	}
	return Role(r.oneOf("role", string(RoleRead), string(RoleRead), string(RoleOperator)))
}

// private is whether only this machine can reach an address.
func private(address string) bool {
	if strings.HasPrefix(address, unixScheme) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
