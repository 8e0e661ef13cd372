package host

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/targetpb"
)

// beBare is a plugin made by the page of the protocol alone, as in a language that has no go-plugin: one
// service, the handshake line and TLS.
func beBare() error {
	if os.Getenv("CONSENTD_PLUGIN") != "target.v1" {
		return fmt.Errorf("not launched by consentd")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(30, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT"))) {
		return fmt.Errorf("no certificate of consentd")
	}
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "bare.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: trusted, MinVersion: tls.VersionTLS12,
	})))
	targetpb.RegisterTargetServer(server, bare{})
	fmt.Printf("1|1|unix|%s|grpc|%s\n", path, base64.RawStdEncoding.EncodeToString(der))
	return server.Serve(listener)
}

type bare struct {
	targetpb.UnimplementedTargetServer
}

func (bare) Describe(context.Context, *targetpb.DescribeRequest) (*targetpb.DescribeResponse, error) {
	return &targetpb.DescribeResponse{Type: "bare"}, nil
}

func (bare) Configure(context.Context, *targetpb.ConfigureRequest) (*targetpb.ConfigureResponse, error) {
	return &targetpb.ConfigureResponse{}, nil
}

func (bare) Deliver(_ context.Context, req *targetpb.DeliverRequest) (*targetpb.DeliverResponse, error) {
	return &targetpb.DeliverResponse{Outcomes: []*targetpb.Outcome{{Id: req.Records[0].Id, Kind: targetpb.Outcome_DELIVERED}}}, nil
}

func (bare) Close(context.Context, *targetpb.CloseRequest) (*targetpb.CloseResponse, error) {
	time.AfterFunc(100*time.Millisecond, func() { os.Exit(0) })
	return &targetpb.CloseResponse{}, nil
}

// What the page of the protocol asks for is enough.
func TestBarePlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "be-bare")
	cmd.Env = []string{"PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir()}
	process, client, err := Launch(&plugin.ClientConfig{Cmd: cmd, SkipHostEnv: true, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	about, err := client.Describe(t.Context())
	if err != nil || about.Type != "bare" {
		t.Fatal(about, err)
	}
	if _, mistakes, err := client.Configure(t.Context(), sdk.Config{Fields: json.RawMessage(`{}`)}); err != nil || len(mistakes) > 0 {
		t.Fatal(mistakes, err)
	}
	outcomes, err := client.Deliver(t.Context(), []sdk.Record{{ID: "1"}})
	if err != nil || outcomes[0].Kind != sdk.KindDelivered {
		t.Fatal(outcomes, err)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-client.Broken()
}
