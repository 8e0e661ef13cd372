package trace

import (
	"time"

	"github.com/jellydator/ttlcache/v3"
	"go.opentelemetry.io/otel/trace"
)

// mostOrigins bounds how many updates are known whose deliveries are still to come. Those that are forgotten, after a
// restart all of them, are delivered without a link.
const mostOrigins = 10_000

// origin names the update that a citizen's state came with.
type origin struct {
	source, citizenID string
	received          int64 // microseconds since 1970, which is what stores keep
}

// origins are the spans in which updates came that are followed.
type origins struct {
	spans *ttlcache.Cache[origin, trace.SpanContext]
}

func newOrigins() *origins {
	return &origins{ttlcache.New(ttlcache.WithCapacity[origin, trace.SpanContext](mostOrigins))}
}

func (o *origins) put(source, citizenID string, received time.Time, span trace.SpanContext) {
	o.spans.Set(origin{source, citizenID, received.UnixMicro()}, span, ttlcache.NoTTL)
}

func (o *origins) get(source, citizenID string, received time.Time) (trace.SpanContext, bool) {
	item := o.spans.Get(origin{source, citizenID, received.UnixMicro()})
	if item == nil {
		return trace.SpanContext{}, false
	}
	return item.Value(), true
}
