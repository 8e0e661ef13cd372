package sdk

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/consentd/consentd/sdk/internal/wire"
	"github.com/consentd/consentd/sdk/targetpb"
)

// Serve runs the plugin until consentd ends it. It is all that a plugin's main does:
//
//	func main() { sdk.Serve(acme.Plugin()) }
//
// SIGINT and SIGTERM are ignored: they reach a whole process group, and consentd still needs its
// plugins to finish what is in flight when it is told to stop. When consentd dies without a word the
// plugin notices that it has another parent and exits.
//
// Executed by a person, the program says what it is and how it is used.
func Serve(p Plugin) {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		os.Exit(p.byHand(os.Args[1:], os.Stdout, os.Stderr))
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	log := hclog.New(&hclog.LoggerOptions{Name: p.Type, Level: hclog.Trace, JSONFormat: true})
	go exitWithParent(os.Getppid(), log)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake,
		Plugins:         map[string]plugin.Plugin{wire.Name: &servedPlugin{plugin: p, log: log, stderr: os.Stderr}},
		Logger:          log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return plugin.DefaultGRPCServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage)))
		},
	})
}

// Register puts the plugin on a gRPC server. Serve does so for a plugin process; whoever wants the wire
// without the process, as package sdktest does, calls it.
func Register(server grpc.ServiceRegistrar, p Plugin, log hclog.Logger) {
	targetpb.RegisterTargetServer(server, newServer(p, log))
}

// exitWithParent is the second guard against orphans; the first is the parent-death signal that the
// host asks the kernel for, which exists on Linux only.
func exitWithParent(parent int, log hclog.Logger) {
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			log.Warn("consentd is gone, exiting")
			os.Exit(1)
		}
	}
}

type servedPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	plugin Plugin
	log    hclog.Logger
	stderr *os.File
}

func (s *servedPlugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	t := newServer(s.plugin, s.log)
	t.stderr = s.stderr
	targetpb.RegisterTargetServer(server, t)
	return nil
}

func (s *servedPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	panic("the host half of the wire is package host")
}
