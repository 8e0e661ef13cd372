// Command v1plugin is a plugin as one was written when version 1 of the wire was released. It imports nothing of
// consentd, and is not to be changed: whatever changes in consentd, this has to go on working.
package main

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
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/consentd/consentd/sdk/host/testdata/v1plugin/targetpb"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	if os.Getenv("CONSENTD_PLUGIN") != "target.v1" {
		return fmt.Errorf("consentd starts this by itself")
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
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
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "v1.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: trusted, MinVersion: tls.VersionTLS12,
	})))
	targetpb.RegisterTargetServer(server, &target{})
	fmt.Printf("1|1|unix|%s|grpc|%s\n", path, base64.RawStdEncoding.EncodeToString(der))
	return server.Serve(listener)
}

// target appends what it gets to a file.
type target struct {
	targetpb.UnimplementedTargetServer

	mu   sync.Mutex
	path string
}

func (*target) Describe(context.Context, *targetpb.DescribeRequest) (*targetpb.DescribeResponse, error) {
	return &targetpb.DescribeResponse{
		Type: "v1", Version: "1.0.0", Doc: "Appends to a file.",
		Config: &targetpb.Schema{Attributes: []*targetpb.Attribute{{Name: "path", Type: "string", Required: true, Doc: "The file."}}},
		Record: &targetpb.Schema{Attributes: []*targetpb.Attribute{
			{Name: "key", Type: "string", Required: true, Doc: "Whom it is about."},
			{Name: "allowed", Type: "bool", Required: true, Doc: "Whether it is allowed."},
		}},
		Limits: &targetpb.Limits{MaxBatch: 10, MaxInFlight: 1},
	}, nil
}

func (t *target) Configure(_ context.Context, req *targetpb.ConfigureRequest) (*targetpb.ConfigureResponse, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var config struct{ Path string }
	if err := json.Unmarshal(req.Config, &config); err != nil {
		return nil, status.Error(codes.Internal, "")
	}
	if !filepath.IsAbs(config.Path) {
		return &targetpb.ConfigureResponse{Diagnostics: []*targetpb.Diagnostic{
			{Path: []string{"path"}, Summary: "Not a full path", Detail: "Begin it with a slash."},
		}}, nil
	}
	t.path = config.Path
	return &targetpb.ConfigureResponse{Capabilities: &targetpb.Capabilities{Check: true, Erase: true}}, nil
}

func (t *target) Check(context.Context, *targetpb.CheckRequest) (*targetpb.CheckResponse, error) {
	return &targetpb.CheckResponse{Outcome: &targetpb.Outcome{Kind: targetpb.Outcome_DELIVERED}}, nil
}

func (t *target) Deliver(_ context.Context, req *targetpb.DeliverRequest) (*targetpb.DeliverResponse, error) {
	return &targetpb.DeliverResponse{Outcomes: t.write("deliver", req.Records)}, nil
}

func (t *target) Erase(_ context.Context, req *targetpb.EraseRequest) (*targetpb.EraseResponse, error) {
	return &targetpb.EraseResponse{Outcomes: t.write("erase", req.Records)}, nil
}

func (t *target) Close(context.Context, *targetpb.CloseRequest) (*targetpb.CloseResponse, error) {
	time.AfterFunc(100*time.Millisecond, func() { os.Exit(0) })
	return &targetpb.CloseResponse{}, nil
}

func (t *target) write(verb string, records []*targetpb.Record) []*targetpb.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	var outcomes []*targetpb.Outcome
	for _, r := range records {
		outcome := &targetpb.Outcome{Id: r.Id, Kind: targetpb.Outcome_DELIVERED, Reference: "line"}
		if err := t.add(fmt.Sprintf("%s %t %s\n", verb, r.Withdrawal, r.Fields)); err != nil {
			outcome = &targetpb.Outcome{Id: r.Id, Kind: targetpb.Outcome_RETRY, Code: "WRITE", Message: "the file cannot be written"}
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes
}

func (t *target) add(line string) error {
	file, err := os.OpenFile(t.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(line)
	if e := file.Close(); err == nil {
		err = e
	}
	return err
}
