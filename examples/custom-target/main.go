// Command consentd-plugin-maildb keeps a table of a SQLite database at what each person allows, for a mailer that
// asks it before every mail. It is an example of a plugin that is not about HTTP; see README.md.
package main

import "github.com/consentd/consentd/sdk"

func main() { sdk.Serve(plugin()) }
