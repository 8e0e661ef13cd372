//go:build !linux

package admin

import "net"

// peerUID is not known here; the socket's mode lets in nobody but this user.
func peerUID(*net.UnixConn) (uint32, bool) { return 0, false }
