package sdktest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/consentd/consentd/sdk"
)

// within runs a check that needs one target and ends it afterwards.
func within(run func(*world) error) func(*Suite) error {
	return func(s *Suite) error {
		w, err := start(s)
		if err != nil {
			return err
		}
		defer w.close()
		return run(w)
	}
}

// stateAfter is what a vendor that knew nobody holds after records, which all have to get through.
func stateAfter(s *Suite, what string, make func(*world) ([]sdk.Record, error)) (any, error) {
	var state any
	err := within(func(w *world) error {
		records, err := make(w)
		if err != nil {
			return err
		}
		for _, r := range records {
			outcomes, err := w.deliver(r)
			if err != nil {
				return err
			}
			if !outcomes[0].Kind.Done() {
				return fmt.Errorf("%s was not delivered: %s", what, show(outcomes[0]))
			}
		}
		state, err = w.state()
		return err
	})(s)
	return state, err
}

func checkTwice(w *world) error {
	r, err := w.of(ann, true)
	if err != nil {
		return err
	}
	var states []any
	for i := range 2 {
		outcomes, err := w.deliver(r)
		if err != nil {
			return err
		}
		if !outcomes[0].Kind.Done() {
			return fmt.Errorf("delivery %d of the same record: %s", i+1, show(outcomes[0]))
		}
		state, err := w.state()
		if err != nil {
			return err
		}
		states = append(states, state)
	}
	if !reflect.DeepEqual(states[0], states[1]) {
		return fmt.Errorf("the vendor holds something else after the second time: send what should be, not what to add\n after once:  %+v\n after twice: %+v", states[0], states[1])
	}
	return nil
}

func checkConverge(w *world) error {
	var states []any
	for _, allowed := range []bool{true, false, true} {
		if err := w.told(ann, allowed); err != nil {
			return err
		}
		state, err := w.state()
		if err != nil {
			return err
		}
		states = append(states, state)
	}
	switch {
	case reflect.DeepEqual(states[0], states[1]):
		return fmt.Errorf("the withdrawal changed nothing at the vendor: %+v", states[0])
	case !reflect.DeepEqual(states[0], states[2]):
		return fmt.Errorf("the second grant does not lead to where the first did\n after the first:  %+v\n after the second: %+v", states[0], states[2])
	}
	return nil
}

func checkUnknown(s *Suite) error {
	granted, err := stateAfter(s, "a grant", func(w *world) ([]sdk.Record, error) {
		r, err := w.of(bob, true)
		return []sdk.Record{r}, err
	})
	if err != nil {
		return err
	}
	withdraw := func(w *world) error {
		o, err := w.tell(bob, false)
		if err != nil {
			return err
		}
		if !o.Kind.Done() && o.Kind != sdk.KindRejected {
			return fmt.Errorf("the withdrawal of somebody whom the vendor does not know ended as %s\nIt will never get better: answer Unchanged, create the person as opted out, or reject the record", show(o))
		}
		if o.Kind == sdk.KindRejected && o.Code == "" {
			return errors.New("the withdrawal of somebody whom the vendor does not know was rejected without a code: name one, and document it")
		}
		after, err := w.state()
		if err != nil {
			return err
		}
		if reflect.DeepEqual(after, granted) {
			return fmt.Errorf("after the withdrawal of somebody whom the vendor does not know it holds the same as after a grant: %+v", after)
		}
		return nil
	}
	return within(func(w *world) error {
		return errors.Join(withdraw(w), withdraw(w))
	})(s)
}

func checkOutcomes(w *world) error {
	if w.suite.Rejected == nil {
		return errors.New(`Suite.Rejected is missing: write a record that will never be taken, or a reason in Skip["outcomes"]`)
	}
	var all []sdk.Record
	for _, person := range []string{ann, bob} {
		r, err := w.of(person, true)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	bad, err := w.record(cem, w.suite.Rejected(cem), false)
	if err != nil {
		return err
	}
	for _, order := range [][]sdk.Record{{bad, all[0], all[1]}, {all[1], all[0], bad}, {all[0], bad, all[1]}} {
		outcomes, err := w.deliver(order...)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			switch isBad := order[i].ID == bad.ID; {
			case o.Code == "NO_OUTCOME":
				return fmt.Errorf("record %d of %d got no outcome: Deliver returns one a record, in the records' order", i+1, len(order))
			case isBad && o.Kind != sdk.KindRejected:
				return fmt.Errorf("the record of Suite.Rejected, %d of %d, ended as %s: it must be rejected, alone, and outcomes are in the records' order", i+1, len(order), show(o))
			case isBad && (o.Code == "" || o.Message == ""):
				return fmt.Errorf("a rejection must say why, with a code and a message: %+v", o)
			case !isBad && !o.Kind.Done():
				return fmt.Errorf("a good record, %d of %d, beside one that is rejected ended as %s\nOne bad record must not stop the others, and outcomes are in the records' order", i+1, len(order), show(o))
			}
		}
	}
	return nil
}

func checkPresence(s *Suite) error {
	if s.Presence == nil {
		return errors.New(`Suite.Presence is missing: write four records, or a reason in Skip["presence"]`)
	}
	names := []string{"Null", "Absent", "False"}
	states := map[string]any{}
	for _, name := range names {
		state, err := stateAfter(s, "Presence.Set, then Presence."+name, func(w *world) ([]sdk.Record, error) {
			four := s.Presence(ann)
			second := map[string]map[string]any{"Null": four.Null, "Absent": four.Absent, "False": four.False}[name]
			set, err := w.record(ann, four.Set, false)
			if err != nil {
				return nil, err
			}
			then, err := w.record(ann, second, false)
			return []sdk.Record{set, then}, err
		})
		if err != nil {
			return err
		}
		states[name] = state
	}
	for i, one := range names {
		for _, other := range names[i+1:] {
			if reflect.DeepEqual(states[one], states[other]) {
				return fmt.Errorf("in Suite.Presence %s and %s lead to the same: %+v\nNull clears, an absent name is left alone, false is false; sdk.Optional tells them apart", one, other, states[one])
			}
		}
	}
	return nil
}

// checkConcurrent delivers to many people at once and compares with one at a time.
func checkConcurrent(s *Suite) error {
	p := s.Plugin()
	calls := p.Limits.MaxInFlight
	if calls <= 0 || calls > 8 {
		calls = 8
	}
	batch := p.Limits.MaxBatch
	if batch <= 0 || batch > 3 {
		batch = 3
	}
	people := func(w *world) ([]sdk.Record, error) {
		var all []sdk.Record
		for i := range calls * batch * 2 {
			person := fmt.Sprintf("%s%d", ann, i)
			for _, allowed := range []bool{true, false}[:1+i%2] {
				r, err := w.of(person, allowed)
				if err != nil {
					return nil, err
				}
				all = append(all, r)
			}
		}
		return all, nil
	}
	want, err := stateAfter(s, "a record", people)
	if err != nil {
		return err
	}
	return within(func(w *world) error {
		all, err := people(w)
		if err != nil {
			return err
		}
		var got any
		if err := w.atOnce(all, calls, batch); err != nil {
			return err
		}
		if got, err = w.state(); err != nil {
			return err
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%d calls at once lead elsewhere than one after the other: what a target holds in its fields is shared by all calls\n at once:    %+v\n in a row:   %+v", calls, got, want)
		}
		return nil
	})(s)
}

// atOnce delivers in concurrent calls. The first records of the people go before their second ones.
func (w *world) atOnce(all []sdk.Record, calls, batch int) error {
	var first, second []sdk.Record
	for _, r := range all {
		if r.Withdrawal {
			second = append(second, r)
		} else {
			first = append(first, r)
		}
	}
	for _, records := range [][]sdk.Record{first, second} {
		work := make(chan []sdk.Record)
		errs := make([]error, calls)
		var workers sync.WaitGroup
		for i := range calls {
			workers.Go(func() {
				for records := range work {
					outcomes, err := w.deliver(records...)
					if err != nil {
						errs[i] = err
						continue
					}
					if bad := slices.IndexFunc(outcomes, func(o sdk.Outcome) bool { return !o.Kind.Done() }); bad >= 0 {
						errs[i] = fmt.Errorf("with %d calls at once a record that gets through alone ended as %s", calls, show(outcomes[bad]))
					}
				}
			})
		}
		for records := range slices.Chunk(records, batch) {
			work <- records
		}
		close(work)
		workers.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}
