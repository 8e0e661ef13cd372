package sdk

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestInvalidConfigUnfolds(t *testing.T) {
	one, two := InvalidConfig("auth.token", "has %d letters", 3), InvalidConfig("", "is empty")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{one, []string{"auth.token: Invalid configuration: has 3 letters"}},
		{fmt.Errorf("make target: %w", two), []string{"Invalid configuration: is empty"}},
		{errors.Join(one, nil, errors.Join(two, errors.New("other"))), []string{
			"auth.token: Invalid configuration: has 3 letters", "Invalid configuration: is empty", "Target cannot be made: other",
		}},
	} {
		var got []string
		for _, e := range configErrors(c.err) {
			got = append(got, e.Error())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
