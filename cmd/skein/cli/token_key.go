package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/token"
)

func (a *app) tokenKeyCommand() *cobra.Command {
	algorithm, out := "", ""
	cmd := &cobra.Command{
		Use:   "key --alg ALGORITHM --out FILE",
		Short: "Make a secret, or a private key and its public half",
		Long: "Makes a key to sign tokens with. For HS256 it is a secret that edges need as well; for\n" +
			"RS256, ES256 and EdDSA edges need the public half only, which is written to FILE.pub.\n" +
			"Files that exist are left alone.",
		Example: "  skein token key --alg HS256 --out secret.key\n  skein token key --alg ES256 --out es256.pem",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usageError{cmd.CommandPath(), errors.New("missing flag: --out FILE")}
			}
			private, public, err := token.Generate(algorithm)
			if err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("--alg: %w", err)}
			}
			return a.writeKey(algorithm, out, private, public)
		},
	}
	cmd.Flags().StringVar(&algorithm, "alg", "HS256", "algorithm: HS256, RS256, PS256, ES256, their 384 and 512, or EdDSA")
	cmd.Flags().StringVar(&out, "out", "", "file of the secret or private key")
	return cmd
}

// writeKey writes both halves of a key, or none.
func (a *app) writeKey(algorithm, path string, private, public []byte) error {
	if err := create(path, private, 0o600); err != nil {
		return err
	}
	pub := ""
	if public != nil {
		pub = path + ".pub"
		if err := create(pub, public, 0o644); err != nil {
			return errors.Join(err, os.Remove(path))
		}
	}
	if a.common.json() {
		return printJSON(a.Stdout, map[string]string{"alg": algorithm, "private": path, "public": pub})
	}
	check := path
	if public == nil {
		fmt.Fprintf(a.Stdout, "Wrote a secret to %s.\n", path)
	} else {
		check = pub
		fmt.Fprintf(a.Stdout, "Wrote a private key to %s and its public half to %s.\n", path, pub)
	}
	fmt.Fprintf(a.Stdout, "Edges check tokens with:    --token-keys %s\n", check)
	fmt.Fprintf(a.Stdout, "Make a token with it:       skein token make --key %s --alg %s --sub ada\n", path, algorithm)
	return nil
}

// create writes a file that must not exist.
func create(path string, text []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
