package rules

import (
	"slices"
	"testing"

	"github.com/consentd/consentd/core/consent"
)

// A receipt names the transactions that its record came from, and no others.
func TestTransactions(t *testing.T) {
	state := consent.State{Permissions: []consent.Permission{
		{OptionType: "option", OptionID: "k3Rmx", Justification: "consent", TransactionID: "t-1"},
		{OptionType: "option", OptionID: "other", Justification: "consent", TransactionID: "t-2"},
		{OptionType: "option", OptionID: "k3Rmx", Justification: "contract", TransactionID: "t-3"},
		{OptionType: "option", OptionID: "other", Justification: "contract", TransactionID: "t-2"},
	}}
	option := Option{Name: "email", ID: "k3Rmx", Type: "option", Justification: "consent"}
	raw := []attribute[consent.Permission]{}
	for name, tc := range map[string]struct {
		needs needs
		want  []string
	}{
		"a name":       {needs{permissions: []neededPermission{{option: option}}}, []string{"t-1"}},
		"the raw list": {needs{rawPermissions: &raw}, []string{"t-1", "t-2", "t-3"}},
		"nothing":      {needs{}, nil},
	} {
		if got := (&Rule{needs: tc.needs}).Transactions(state); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
