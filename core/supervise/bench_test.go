package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk"
)

// BenchmarkDeliver is what a call to a plugin costs beside the same call in one process: a record of 2 KB or 100 of
// them, eight calls at once on two cores.
func BenchmarkDeliver(b *testing.B) {
	s, _ := spec(b, "chaos", `{}`)
	target := start(b, s)
	one := sdk.Record{ID: "id", Fields: json.RawMessage(`{"do":"","arg":"` + strings.Repeat("x", 2000) + `"}`)}
	within := &chaos{}
	for _, where := range []struct {
		name    string
		deliver func(context.Context, []sdk.Record) ([]sdk.Outcome, error)
	}{
		{"process", target.Deliver},
		{"within", func(ctx context.Context, r []sdk.Record) ([]sdk.Outcome, error) { return within.Deliver(ctx, r), nil }},
	} {
		for _, size := range []int{1, 100} {
			records := slices.Repeat([]sdk.Record{one}, size)
			b.Run(fmt.Sprint(where.name, "/", size), func(b *testing.B) {
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						outcomes, err := where.deliver(context.Background(), records)
						if err != nil || len(outcomes) != size || outcomes[0].Kind != sdk.KindDelivered {
							b.Error(outcomes, err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
