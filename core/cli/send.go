package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/webhook/sender"
)

func (a *App) send() *cobra.Command {
	var o sender.Options
	var refresh sender.Refresh
	var credential string
	cmd := &cobra.Command{
		Use:   "send FILE|-",
		Short: "Post an update as the sender would",
		Long: "Post an update as the sender would: with its credential, with a new access token after a 401 when --refresh-url\n" +
			"is given, and up to three times. Credentials come from the environment, so that no process list shows them:\n\n" +
			"  CONSENTD_SEND_CREDENTIAL      the api key, static token or access token\n" +
			"  CONSENTD_SEND_REFRESH_TOKEN   the refresh token\n" +
			"  CONSENTD_SEND_CLIENT_SECRET   the client secret of the token endpoint",
		Example: "  CONSENTD_SEND_CREDENTIAL=$CPM_KEY consentd send --to http://127.0.0.1:8484/webhooks/dataguard --header X-API-Key update.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.URL == "" {
				return usage("where to? Give --to with the address of the source, such as http://127.0.0.1:8484/webhooks/dataguard")
			}
			body, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			o.Credential = credential
			if credential == "" {
				o.Credential = os.Getenv("CONSENTD_SEND_CREDENTIAL")
			}
			if refresh.URL != "" {
				if refresh.Token = os.Getenv("CONSENTD_SEND_REFRESH_TOKEN"); refresh.Token == "" {
					return usage("--refresh-url needs the refresh token: set CONSENTD_SEND_REFRESH_TOKEN")
				}
				refresh.ClientSecret = os.Getenv("CONSENTD_SEND_CLIENT_SECRET")
				o.Refresh = &refresh
			}
			s, err := sender.New(o)
			if err != nil {
				return usage("%w", err)
			}
			answer, err := s.Send(cmd.Context(), body)
			switch {
			case errors.Is(err, sender.ErrNoToken):
				return fmt.Errorf("%w\nCheck CONSENTD_SEND_REFRESH_TOKEN, and --client-id and CONSENTD_SEND_CLIENT_SECRET if the source has them", err)
			case err != nil && cmd.Context().Err() != nil:
				return err
			case err != nil && answer.Status == http.StatusUnauthorized: // and the token endpoint does not answer
				return environment(fmt.Errorf("%w; is --refresh-url right, and consentd running at %s?", err, hostOf(refresh.URL)))
			case err != nil:
				return environment(fmt.Errorf("%w; is consentd running at %s?", err, hostOf(o.URL)))
			}
			fmt.Fprintf(a.Stdout, "%d %s\n", answer.Status, strings.TrimSpace(string(answer.Body)))
			switch {
			case answer.OK():
				return nil
			case answer.Status == http.StatusUnauthorized && answer.Refreshed:
				return errors.New("the update was not taken: the new access token was refused; say with --header, --prefix or --query where the source expects it")
			case answer.Status == http.StatusUnauthorized:
				return errors.New("the update was not taken: the credential was refused\n" +
					"Set CONSENTD_SEND_CREDENTIAL to it, and say with --header, --prefix or --query where the source expects it")
			}
			return errors.New("the update was not taken")
		},
	}
	cmd.Flags().StringVar(&o.URL, "to", "", "where the source listens, such as http://127.0.0.1:8484/webhooks/dataguard")
	cmd.Flags().StringVar(&o.Header, "header", "", "header that carries the credential (default Authorization, with prefix Bearer)")
	cmd.Flags().StringVar(&o.Prefix, "prefix", "", "what stands before the credential in --header")
	cmd.Flags().StringVar(&o.Query, "query", "", "query parameter that carries the credential, in place of a header")
	cmd.Flags().StringVar(&credential, "credential", "", "the credential, for trying things out: process lists show it")
	cmd.Flags().StringVar(&refresh.URL, "refresh-url", "", "token endpoint to ask after a 401")
	cmd.Flags().StringVar(&refresh.ClientID, "client-id", "", "client id for the token endpoint")
	cmd.Flags().IntVar(&o.Attempts, "attempts", sender.DefaultAttempts, "how often to try")
	cmd.Flags().DurationVar(&o.Delay, "delay", time.Second, "wait between tries")
	return cmd
}

// hostOf leaves out the query, which may hold a key.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "that address"
	}
	return u.Host
}
