package sdktest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"go.uber.org/goleak"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/targetpb"
)

// call is a Deliver that ends with its context, where the host's gives the plugin a moment more.
func (w *world) call(ctx context.Context, r sdk.Record) error {
	_, err := w.raw.Deliver(ctx, &targetpb.DeliverRequest{Records: toProto(r)})
	return err
}

func toProto(r sdk.Record) []*targetpb.Record {
	return []*targetpb.Record{{Id: r.ID, Withdrawal: r.Withdrawal, Fields: r.Fields}}
}

// checkLate makes a call as it arrives when consentd was stopped in the middle of sending it.
func checkLate(w *world) error {
	if err := w.told(ann, true); err != nil {
		return err
	}
	before, err := w.state()
	if err != nil {
		return err
	}
	r, err := w.of(ann, false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := w.raw.Deliver(ctx, &targetpb.DeliverRequest{Records: toProto(r), NotAfter: time.Now().Add(-time.Second).UnixNano()})
	if err != nil {
		return err
	}
	after, err := w.state()
	if err != nil {
		return err
	}
	if o := res.Outcomes; !reflect.DeepEqual(before, after) || len(o) != 1 || o[0].Kind != targetpb.Outcome_RETRY {
		return errors.New("the vendor was told after not_after, or the outcome is not retry: give the context of Deliver to every request")
	}
	return nil
}

func checkClose(s *Suite) error {
	first, err := start(s)
	if err != nil {
		return err
	}
	defer first.close()
	second, err := start(s)
	if err != nil {
		return err
	}
	defer second.close()
	if err := first.told(ann, true); err != nil {
		return err
	}
	for range 2 {
		if err := first.end(); err != nil {
			return err
		}
	}
	if err := second.told(ann, true); err != nil {
		return fmt.Errorf("after another target of the same plugin was closed: %w\nTargets share nothing", err)
	}
	// A target that was never used closes as well.
	third, err := start(s)
	if err != nil {
		return err
	}
	defer third.close()
	return third.end()
}

func checkGoroutines(s *Suite) error {
	before := goleak.IgnoreCurrent()
	w, err := start(s)
	if err != nil {
		return err
	}
	defer w.close()
	for _, allowed := range []bool{true, false} {
		if err := w.told(ann, allowed); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	w.disconnect()
	// The vendor lives on, so that a connection that was left open shows.
	if err := goleak.Find(before,
		goleak.IgnoreAnyFunction("net/http.(*Server).Serve"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
	); err != nil {
		return fmt.Errorf("goroutines are left after Close: end them there, and close idle connections (a net/http readLoop is one)\n%w", err)
	}
	return nil
}

// checkSecrets goes through what a target's life may bring and then looks for what must not have been told.
func checkSecrets(s *Suite) error {
	restore, err := captured()
	if err != nil {
		return err
	}
	spoken, w, err := converse(s)
	out := restore()
	if err != nil {
		return err
	}
	places := []struct{ where, text string }{
		{"its log", w.log.String()},
		{"what it printed", out},
		{"an answer", spoken},
	}
	for _, p := range places {
		for name, secret := range w.secrets() {
			for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(p.text, form) {
					return fmt.Errorf("%s holds the value of Config.%s, which is Sensitive: never log or answer requests, URLs and vendors' bodies as they are\n%s", p.where, name, around(p.text, form))
				}
			}
		}
		for _, person := range []string{ann, bob} {
			if strings.Contains(p.text, person) {
				return fmt.Errorf("%s holds a value of a record, which is personal data: log ids of your own making, counts and codes\n%s", p.where, around(p.text, person))
			}
		}
	}
	return nil
}

// converse returns all that the target answered.
func converse(s *Suite) (string, *world, error) {
	var said strings.Builder
	say := func(o sdk.Outcome) { fmt.Fprintln(&said, o.Code, o.Message) }
	w, err := start(s)
	if err != nil {
		return "", nil, err
	}
	defer w.close()
	talk := func() error {
		for _, allowed := range []bool{true, false} {
			for _, person := range []string{ann, bob} {
				o, err := w.tell(person, allowed)
				if err != nil {
					return err
				}
				say(o)
			}
		}
		if s.Rejected != nil {
			r, err := w.record(bob, s.Rejected(bob), false)
			if err != nil {
				return err
			}
			outcomes, err := w.deliver(r)
			if err != nil {
				return err
			}
			say(outcomes[0])
		}
		if w.can.Check {
			o, err := w.check()
			if err != nil {
				return err
			}
			say(o)
		}
		if w.can.Read {
			reading, err := w.read(ann)
			if err != nil {
				return err
			}
			say(reading.Outcome)
		}
		return nil
	}
	if err := talk(); err != nil {
		return "", nil, err
	}
	if w.front != nil {
		for _, f := range failures() {
			if f.name == "http/timeout" {
				continue
			}
			w.front.misbehave(f.serve(w))
			if err := talk(); err != nil {
				return "", nil, err
			}
		}
	}
	return said.String(), w, nil
}

// secrets are the strings of sensitive attributes that are long enough to be told from other text.
func (w *world) secrets() map[string]string {
	found := map[string]string{}
	var look func(at string, schema sdk.Schema, fields map[string]any)
	look = func(at string, schema sdk.Schema, fields map[string]any) {
		for name, a := range schema.Attributes {
			if text, ok := fields[name].(string); ok && a.Sensitive && len(text) >= 4 {
				found[at+name] = text
			}
		}
		for name, b := range schema.Blocks {
			if inner, ok := fields[name].(map[string]any); ok {
				look(at+name+".", b.Body, inner)
			}
		}
	}
	look("", w.plugin.Config, w.config)
	return found
}

// captured takes what is printed on the standard streams and through package log. restore returns it.
func captured() (restore func() string, err error) {
	file, err := os.CreateTemp("", "sdktest")
	if err != nil {
		return nil, err
	}
	out, errs, logged := os.Stdout, os.Stderr, log.Writer()
	os.Stdout, os.Stderr = file, file
	log.SetOutput(file)
	return func() string {
		os.Stdout, os.Stderr = out, errs
		log.SetOutput(logged)
		defer os.Remove(file.Name())
		defer file.Close()
		data, _ := os.ReadFile(file.Name())
		return string(data)
	}, nil
}

// around is the line of text that holds part.
func around(text, part string) string {
	i := strings.Index(text, part)
	begin := strings.LastIndexByte(text[:i], '\n') + 1
	end := len(text)
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		end = i + n
	}
	return text[begin:end]
}
