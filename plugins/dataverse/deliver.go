package dataverse

import (
	"context"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/batch"
	"github.com/consentd/consentd/sdk/httpclient"
)

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return batch.Call[item]{Max: maxRecords, Parse: parse, Key: item.key, Send: t.deliver}.Deliver(ctx, records)
}

// deliver brings items about different rows and consents to the wanted state, in at most three batches:
// what has to be known first, the writes, and what rejected records take away.
func (t *target) deliver(ctx context.Context, items []item) ([]sdk.Outcome, error) {
	found, err := t.each(ctx, len(items), func(i int) []operation {
		if o, ok := items[i].look(t.resubscribe); ok {
			return []operation{o}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]sdk.Outcome, len(items))
	answers, err := t.each(ctx, len(items), func(i int) []operation {
		var writes []operation
		writes, outcomes[i] = items[i].plan(first(found[i]), t.resubscribe)
		return writes
	})
	if err != nil {
		return nil, err
	}
	for i := range items {
		if len(answers[i]) > 0 {
			outcomes[i] = items[i].outcome(answers[i])
		}
	}
	answers, err = t.each(ctx, len(items), func(i int) []operation {
		if o, ok := items[i].takings(outcomes[i]); ok {
			return []operation{o}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range items {
		if len(answers[i]) > 0 {
			outcomes[i] = items[i].taken(outcomes[i], answers[i][0])
		}
	}
	return outcomes, nil
}

// each makes what every one of n things needs, together, and returns the answers of each.
func (t *target) each(ctx context.Context, n int, needs func(int) []operation) ([][]*httpclient.Response, error) {
	var all []operation
	ends := make([]int, n)
	for i := range n {
		all = append(all, needs(i)...)
		ends[i] = len(all)
	}
	answers, err := t.run(ctx, all)
	if err != nil {
		return nil, err
	}
	by := make([][]*httpclient.Response, n)
	begin := 0
	for i, end := range ends {
		by[i] = answers[begin:end]
		begin = end
	}
	return by, nil
}

func first(answers []*httpclient.Response) *httpclient.Response {
	if len(answers) == 0 {
		return nil
	}
	return answers[0]
}
