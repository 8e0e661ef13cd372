// Command consentd-plugin-acme lets consentd keep Acme at what each person allows.
package main

import "github.com/consentd/consentd/sdk"

func main() { sdk.Serve(plugin()) }
