package sdktest

import (
	"testing"

	"go.uber.org/goleak"
)

// The one goroutine that is left on purpose is that of the bad plugin "goroutine".
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/consentd/consentd/sdk/sdktest.newToy.func1"))
}
