package cli

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) token() *cobra.Command {
	return group("token", "Make tokens for the admin address", a.tokenCreate())
}

// tokenPrefix makes a token known for what it is, by people and by those who search for leaked ones.
const tokenPrefix = "consentd_"

func (a *App) tokenCreate() *cobra.Command {
	var role, name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a random token for the admin address, and the lines that let it in",
		Long: "Make a random token of 256 bits, and print it with the lines of configuration that let it in. These hold its\n" +
			"SHA-256 sum and not the token, which is shown once, here, and kept nowhere. The daemon takes them up with\n" +
			"`consentd reload`, and the command line sends the token from CONSENTD_ADMIN_TOKEN.",
		Example: "  consentd token create --role read --name dashboard",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if role != "read" && role != "operator" {
				return usage("--role %q is none: give read or operator", role)
			}
			var random [32]byte
			_, _ = rand.Read(random[:]) // it cannot fail
			token := tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
			sum := sha256.Sum256([]byte(token))
			lines := fmt.Sprintf("access %q {\n  role   = %q\n  sha256 = [%q]\n}\n", name, role, hex.EncodeToString(sum[:]))
			if asJSON {
				return printJSON(a.Stdout, map[string]string{"token": token, "sha256": hex.EncodeToString(sum[:]), "role": role, "name": name, "hcl": lines})
			}
			fmt.Fprintf(a.Stdout, "%s\n\nIt is not kept anywhere. Put this into the configuration's admin block:\n\n%s", token, lines)
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", "read", "read, or operator for those who may change things and see personal data")
	cmd.Flags().StringVar(&name, "name", "NAME", "how the audit calls whoever has it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
