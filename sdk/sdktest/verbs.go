package sdktest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/consentd/consentd/sdk"
)

func (w *world) check() (sdk.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o, err := w.client.Check(ctx)
	if err != nil {
		return o, broke("Check", err)
	}
	return o, nil
}

func checkChecker(w *world) error {
	if !w.can.Check {
		return notServed("the target is no sdk.Checker")
	}
	if err := w.told(ann, true); err != nil {
		return err
	}
	before, err := w.state()
	if err != nil {
		return err
	}
	o, err := w.check()
	if err != nil {
		return err
	}
	if o.Kind != sdk.KindDelivered {
		return fmt.Errorf("the target's Check answered %s with Suite.Config: Delivered means that the credentials work", show(o))
	}
	after, err := w.state()
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(before, after) {
		return fmt.Errorf("the target's Check changed what the vendor holds\n before: %+v\n after:  %+v", before, after)
	}
	if w.front == nil {
		return nil
	}
	w.front.misbehave(answer(401)(w))
	if o, err = w.check(); err != nil {
		return err
	}
	if o.Kind != sdk.KindUnauthorized {
		return fmt.Errorf("the target's Check is %s where the vendor answers 401: it must be unauthorized", show(o))
	}
	return nil
}

func checkReader(w *world) error {
	if !w.can.Read {
		return notServed("the target is no sdk.Reader")
	}
	if err := w.told(ann, true); err != nil {
		return err
	}
	for _, c := range []struct {
		person string
		found  bool
	}{{ann, true}, {bob, false}} {
		reading, err := w.read(c.person)
		if err != nil {
			return err
		}
		if reading.Outcome.Kind != sdk.KindDelivered {
			return fmt.Errorf("the target's Read ended as %s: where the vendor could be asked it is Delivered, for somebody unknown too", show(reading.Outcome))
		}
		if reading.Found != c.found {
			return fmt.Errorf("the target's Read says found = %t of somebody of whom it is %t", reading.Found, c.found)
		}
	}
	if w.front == nil {
		return nil
	}
	w.front.misbehave(answer(500)(w))
	reading, err := w.read(ann)
	if err != nil {
		return err
	}
	if reading.Outcome.Kind.Done() {
		return errors.New("the target's Read is Delivered where the vendor answers 500: somebody would seem to be gone")
	}
	return nil
}

func checkEraser(w *world) error {
	if !w.can.Erase {
		return notServed("the target is no sdk.Eraser")
	}
	empty, err := w.state()
	if err != nil {
		return err
	}
	if err := w.told(ann, true); err != nil {
		return err
	}
	r, err := w.of(ann, true)
	if err != nil {
		return err
	}
	for _, what := range []string{"somebody whom the vendor knows", "somebody who is erased already"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		outcomes, err := w.client.Erase(ctx, []sdk.Record{r})
		cancel()
		if err != nil {
			return broke("Erase", err)
		}
		if !outcomes[0].Kind.Done() {
			return fmt.Errorf("the target's Erase of %s ended as %s", what, show(outcomes[0]))
		}
		state, err := w.state()
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(state, empty) && w.vendor.State != nil {
			return fmt.Errorf("after Erase of %s the vendor still holds %+v", what, state)
		}
	}
	return nil
}
