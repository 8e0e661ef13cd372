package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
)

// What the daemon is compared with: its own handler over no store (bare), over a file to which bodies are appended
// and synced in groups before the answer (append), and over that and a direct post of each body to the sink
// (prototype), which is the least that durable forwarding can cost.

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Accept(context.Context, consent.Update) (consent.Verdict, error) {
	return consent.Accepted, nil
}
func (nowhere) Quarantine(context.Context, store.Quarantined) error { return nil }

// appended is a store that only appends and syncs, and posts if there is where to.
type appended struct {
	nowhere
	requests chan appending
	posts    chan []byte
}

type appending struct {
	body []byte
	done chan error
}

func newAppended(path, sink string) (*appended, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	a := &appended{requests: make(chan appending, 512), posts: make(chan []byte, 4096)}
	go a.write(f)
	if sink != "" {
		for range 8 {
			go a.post(sink)
		}
	} else {
		a.posts = nil
	}
	return a, nil
}

func (a *appended) Accept(_ context.Context, u consent.Update) (consent.Verdict, error) {
	r := appending{u.Body, make(chan error, 1)}
	a.requests <- r
	err := <-r.done
	if err == nil && a.posts != nil {
		a.posts <- bytes.Clone(u.Body)
	}
	return consent.Accepted, err
}

// write is group commit: whatever waits shares one write and one sync.
func (a *appended) write(f *os.File) {
	for r := range a.requests {
		group := []appending{r}
		data := append([]byte(nil), r.body...)
	more:
		for len(group) < cap(a.requests) {
			select {
			case r := <-a.requests:
				group = append(group, r)
				data = append(data, r.body...)
			default:
				break more
			}
		}
		_, err := f.Write(data)
		err = errors.Join(err, unix.Fdatasync(int(f.Fd())))
		for _, r := range group {
			r.done <- err
		}
	}
}

func (a *appended) post(sink string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	for body := range a.posts {
		res, err := client.Post(sink, "application/json", bytes.NewReader(body))
		if err != nil {
			fmt.Fprintln(os.Stderr, "prototype:", err)
			return
		}
		res.Body.Close()
	}
}

// serveReference serves what the daemon is compared with.
func serveReference(kind, at string) error {
	address, sink, _ := strings.Cut(at, ",")
	var to webhook.Store = nowhere{}
	if kind != "bare" {
		dir, err := os.MkdirTemp("", "consentd-bench-append-")
		if err != nil {
			return err
		}
		name := filepath.Join(dir, "log")
		a, err := newAppended(name, sink)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil { // it is open, and ends with the process
			return err
		}
		to = a
	}
	listener := config.Listener{Address: address, MaxBodySize: 1 << 20}
	log := hclog.NewNullLogger()
	h, err := webhook.New(webhook.Options{
		Listener: listener, Store: to, Log: log, Metrics: webhook.NewMetrics(prometheus.NewRegistry()),
		Sources: []config.Source{{
			Name: "dataguard", Path: "/webhooks/dataguard", UpdateType: consent.EffectivePermission,
			Auth: config.Auth{Mode: config.AuthAPIKey, Header: "X-API-Key", Keys: []string{"bench"}},
		}},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return webhook.NewServer(listener, h, log).Serve(l)
}
