package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/token"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, explain and find keys for the tokens of clients",
		Long: "Clients show tokens (JWTs) to edges, which check them with --token-keys and --token-jwks.\n" +
			"A token says whose it is (sub), until when (exp), and which topics may be joined (topics)\n" +
			"and pushed to (push).",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.tokenMakeCommand(), a.tokenExplainCommand(), a.tokenKeyCommand())
	return cmd
}

// tokenOrder is a token that is to be made.
type tokenOrder struct {
	key, algorithm, id     string
	subject, issuer        string
	audience               []string
	topics, push           []string
	topicsGiven, pushGiven bool // else the claim is left out
	lifetime               time.Duration
	claims                 []string // NAME=VALUE
}

func (a *app) tokenMakeCommand() *cobra.Command {
	order := tokenOrder{}
	cmd := &cobra.Command{
		Use:   "make --key FILE",
		Short: "Print a token, signed with a private key or a secret",
		Example: "  skein token key --alg HS256 --out secret.key\n" +
			"  skein token make --key secret.key --sub ada --topics 'room:*' --ttl 1h\n" +
			"  skein token make --key secret.key --sub ada --claim role=admin --claim 'teams=[1,2]'",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			order.topicsGiven, order.pushGiven = cmd.Flags().Changed("topics"), cmd.Flags().Changed("push")
			claims, err := order.all(time.Now())
			if order.key == "" {
				err = errors.Join(errors.New("missing flag: --key FILE (skein token key makes one)"), err)
			}
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.tokenMake(order, claims)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&order.key, "key", "", "file of a private key (PEM, JWK) or a secret")
	flags.StringVar(&order.algorithm, "alg", "", "algorithm such as HS256, ES256 or EdDSA; empty takes the first that fits the key")
	flags.StringVar(&order.id, "kid", "", "key id; empty takes that of the key, if it has one")
	flags.StringVar(&order.subject, "sub", "", "whose token it is")
	flags.StringVar(&order.issuer, "iss", "", "who issues it")
	flags.StringSliceVar(&order.audience, "aud", nil, "whom it is for")
	flags.StringSliceVar(&order.topics, "topics", nil, "topics that may be joined, such as room:1 or room:*; without it every topic, with '' none")
	flags.StringSliceVar(&order.push, "push", nil, "topics that may be pushed to; without it those that may be joined")
	flags.DurationVar(&order.lifetime, "ttl", time.Hour, "how long it is good; 0 for ever, negative for one that is over")
	flags.StringArrayVar(&order.claims, "claim", nil, "another claim as NAME=VALUE, with JSON or plain text as the value")
	return cmd
}

func (a *app) tokenMake(order tokenOrder, claims map[string]any) error {
	text, err := os.ReadFile(order.key)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	signer, err := token.NewSigner(text, order.algorithm)
	if err != nil {
		return fmt.Errorf("%s: %w", order.key, err)
	}
	signed, err := signer.Sign(claims, order.id)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if a.common.json() {
		return printJSON(a.Stdout, map[string]any{"token": signed, "alg": signer.Algorithm(), "claims": claims})
	}
	fmt.Fprintln(a.Stdout, signed)
	return nil
}

// all returns the claims, if an edge could read them.
func (o tokenOrder) all(now time.Time) (map[string]any, error) {
	claims := map[string]any{"iat": now.Unix()}
	set := func(name string, value any, given bool) {
		if given {
			claims[name] = value
		}
	}
	set("sub", o.subject, o.subject != "")
	set("iss", o.issuer, o.issuer != "")
	set("aud", o.audience, len(o.audience) > 0)
	set("topics", append([]string{}, o.topics...), o.topicsGiven) // [] and not null: no topic
	set("push", append([]string{}, o.push...), o.pushGiven)
	set("exp", now.Add(o.lifetime).Unix(), o.lifetime != 0)
	for _, c := range o.claims {
		name, value, ok := strings.Cut(c, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--claim: %q is not NAME=VALUE", c)
		}
		claims[name] = value
		if json.Valid([]byte(value)) {
			claims[name] = json.RawMessage(value)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	_, err = grant.Parse(text)
	return claims, err
}
