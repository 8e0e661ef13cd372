// Package wire holds what both halves of the wire must agree on beside target.proto. It is apart from
// package sdk so that the host half does not have to import the serving half.
package wire

import (
	"time"

	"github.com/hashicorp/go-plugin"
)

// Name is the go-plugin name under which the one service of a plugin process is found.
const Name = "target"

// Handshake tells a plugin that consentd launched it, and consentd that it launched a plugin. It is
// no secret and protects nothing; the mutual TLS of every launch does.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "CONSENTD_PLUGIN",
	MagicCookieValue: "target.v1",
}

// MaxMessage is the largest message either half takes, in bytes.
const MaxMessage = 64 << 20

// Grace is how long a call outlives the context of its caller. The plugin's context ends that much
// before the call does, so that outcomes which were known by then still reach the host. A plugin that takes longer
// hangs.
const Grace = 5 * time.Second
