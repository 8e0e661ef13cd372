package sdk

import (
	"fmt"
	"io"
)

// byHand answers a person who executed the plugin, and returns the exit code. Only when it was asked for is
// what it says the program's output, and its end a good one.
func (p Plugin) byHand(args []string, stdout, stderr io.Writer) int {
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	switch word {
	case "describe":
		if p.Describe(stdout) != nil {
			return 1
		}
		return 0
	case "version", "--version", "-v":
		fmt.Fprintf(stdout, "%s %s\n", p.Type, p.Version)
		return 0
	case "help", "--help", "-h":
		p.help(stdout)
		return 0
	case "":
		p.help(stderr)
		return 1
	}
	fmt.Fprintf(stderr, "Error: %q is not known\n\n", word)
	p.help(stderr)
	return 2
}

func (p Plugin) help(w io.Writer) {
	fmt.Fprintf(w, `%[1]s %[2]s is a plugin of consentd, which starts it by itself. To use it:

  1. Put it into the plugin_dir of the configuration, under the name consentd-plugin-%[1]s.
  2. Write into the configuration what this prints:
     consentd plugin sum plugins.d/consentd-plugin-%[1]s
  3. Add a block target %[1]q. Its config, and what a rule's record may hold:
     consentd-plugin-%[1]s describe

By hand it takes: describe, --version, --help
`, p.Type, p.Version)
}
