package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Outcome is what became of one record. Make one with the functions below.
type Outcome struct {
	Kind Kind
	// Code is the vendor's own word for what went wrong, from a closed vocabulary: "INVALID_EMAIL".
	Code string
	// Message is for a person to read. The SDK cuts e-mail addresses and every string of the record
	// from it; do not rely on that.
	Message string
	// RetryAfter is how long the vendor asked to wait. Zero when it did not say.
	RetryAfter time.Duration
	// Reference is the vendor's own id of what it did, kept in the receipt.
	Reference string
	// Individual is whether the vendor judged this very record. When every record of a Deliver is Rejected and
	// none of them so, the host tries them again in halves, since one of them may have sunk the rest. Each
	// and package batch set it.
	Individual bool
}

// Kind is the class of an outcome. The zero value is Retry: what is not known may be tried again.
type Kind int

const (
	// KindRetry: not done, or not known to be done, and it may work later. The host waits with
	// back-off and then tries again.
	KindRetry Kind = iota
	// KindDelivered: the vendor confirmed the change.
	KindDelivered
	// KindUnchanged: the vendor already held exactly this.
	KindUnchanged
	// KindAccepted: the vendor took it and will work on it; what became of it is not known.
	KindAccepted
	// KindThrottled: the vendor asks the whole target to slow down. No attempt is counted.
	KindThrottled
	// KindUnauthorized: credentials or configuration are wrong. The whole target pauses and keeps its
	// work; no record is to blame.
	KindUnauthorized
	// KindRejected: the vendor will never take this record as it is.
	KindRejected
)

var kindNames = [...]string{"retry", "delivered", "unchanged", "accepted", "throttled", "unauthorized", "rejected"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[KindRetry]
	}
	return kindNames[k]
}

// Done is whether nothing is left to do for the record.
func (k Kind) Done() bool {
	return k == KindDelivered || k == KindUnchanged || k == KindAccepted
}

// Delivered is the vendor's confirmation. The reference may be empty.
func Delivered(reference string) Outcome {
	return Outcome{Kind: KindDelivered, Reference: reference}
}

// Unchanged is for a vendor that already held exactly this.
func Unchanged() Outcome { return Outcome{Kind: KindUnchanged} }

// Accepted is for a vendor that works on it later. The reference names its job.
func Accepted(reference string) Outcome {
	return Outcome{Kind: KindAccepted, Reference: reference}
}

// Retry is for a failure that may pass.
func Retry(code, format string, args ...any) Outcome {
	return Outcome{Kind: KindRetry, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Throttled is for a vendor that asks to slow down; after is zero when it did not say for how long.
func Throttled(after time.Duration, code, format string, args ...any) Outcome {
	return Outcome{Kind: KindThrottled, RetryAfter: after, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Unauthorized is for wrong credentials, a missing scope, an unknown field or list: what a person
// must mend before any record can pass.
func Unauthorized(code, format string, args ...any) Outcome {
	return Outcome{Kind: KindUnauthorized, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Rejected is for a record that the vendor will never take.
func Rejected(code, format string, args ...any) Outcome {
	return Outcome{Kind: KindRejected, Code: code, Message: fmt.Sprintf(format, args...)}
}

// FromResponse reads an HTTP status as most vendors mean it: 2xx delivered; 401, 403 and 407, and 3xx,
// which says that the configured address is not right, unauthorized; 429, and 503 with Retry-After,
// throttled; 408, 409, 423, 425 and 5xx retry; every other one rejected. A plugin looks first at what its
// vendor means differently.
func FromResponse(status int, header http.Header) Outcome {
	if status >= 200 && status < 300 {
		return Delivered("")
	}
	code := fmt.Sprintf("HTTP_%d", status)
	message := fmt.Sprintf("the vendor answered %d %s", status, http.StatusText(status))
	after, said := RetryAfter(header.Get("Retry-After"), time.Now())
	o := Outcome{Code: code, Message: message, RetryAfter: after}
	switch {
	case status >= 300 && status < 400 || status == 401 || status == 403 || status == 407:
		o.Kind = KindUnauthorized
	case status == 429 || status == 503 && said:
		o.Kind = KindThrottled
	case status == 408 || status == 409 || status == 423 || status == 425 || status >= 500:
		o.Kind = KindRetry
	default:
		o.Kind = KindRejected
	}
	return o
}

// Err is the outcome as an error, for code that has one way to fail: FromError gives it back whole, from
// under any wrapping. It is nil when nothing is left to do.
func (o Outcome) Err() error {
	if o.Kind.Done() {
		return nil
	}
	return &outcomeError{o}
}

type outcomeError struct{ outcome Outcome }

func (e *outcomeError) Error() string { return e.outcome.Code + ": " + e.outcome.Message }

// FromError reads a failed exchange. An error made by Outcome.Err is that outcome; any other is Retry,
// since the vendor may or may not have acted. The message keeps what failed and drops the address, which
// may hold a key or a person.
func FromError(err error) Outcome {
	var known *outcomeError
	if errors.As(err, &known) {
		return known.outcome
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return Retry("CANCELED", "the attempt was cut short")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Retry("TIMEOUT", "the vendor did not answer in time")
	case errors.As(err, &dns):
		return Retry("DNS", "the vendor's host name does not resolve")
	case errors.As(err, &op):
		return Retry("NETWORK", "%s: %v", op.Op, op.Err)
	default:
		return Retry("NETWORK", "%v", err)
	}
}
