package salesforce

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// usageWarning is the part of the org's daily API requests, in percent, from which on it is worth a
// word: the allowance is shared with every other integration of the org.
const usageWarning = 90

// usage watches the header Sforce-Limit-Info, "api-usage=113/15000", and warns once when the use of
// the daily API requests becomes high. The numbers lag behind a little.
type usage struct{ high atomic.Bool }

func (u *usage) watch(h http.Header, log hclog.Logger) {
	for part := range strings.SplitSeq(h.Get("Sforce-Limit-Info"), ",") {
		var used, limit int64
		if n, _ := fmt.Sscanf(strings.TrimSpace(part), "api-usage=%d/%d", &used, &limit); n != 2 || limit <= 0 {
			continue
		}
		if high := used*100 >= limit*usageWarning; u.high.Swap(high) != high && high {
			log.Warn("the org's daily API requests are nearly used up", "used", used, "limit", limit)
		}
	}
}
