package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/cluster/serf"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

// rotationTime is how long a rotation may take at least: slow members are asked
// several times for each step.
const rotationTime = 30 * time.Second

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list and rotate the keys of gossip, make certificates and API keys",
		Long: "Gossip between routers and presence instances is encrypted with keys that all of them share\n" +
			"(--gossip-key-file). Services know each other by certificates (--tls-cert). Backends call routers and\n" +
			"presence instances with API keys (api-keys).",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keysGenerateCommand(), a.keysListCommand(), a.keysRotateCommand(), a.keysCertsCommand(), a.keysAPICommand())
	return cmd
}

func (a *app) keysGenerateCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:     "generate",
		Short:   "Make a file of gossip keys with a new key",
		Example: "  skein keys generate --out gossip.key\n  skein-router --gossip-key-file gossip.key",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			text := serf.FormatKeys(serf.NewKey())
			if out == "" {
				fmt.Fprint(a.Stdout, text)
				return nil
			}
			if err := newSecret(out, text); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "Wrote %s. Every router and presence instance needs a copy of its own, in a folder that it may write.\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write, which must not exist; empty prints it")
	return cmd
}

// newSecret writes a file that only its owner reads, and none in place of
// another.
func newSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator says where
	if err != nil {
		return fmt.Errorf("make the file of keys: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the file of keys: %w", err)
	}
	return nil
}

func (a *app) keysListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show which gossip keys every member has, by their ids",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.askKeys(cmd, a.common.Timeout, func(ctx context.Context, keys adminv1.KeyServiceClient) error {
				resp, err := keys.ListGossipKeys(ctx, &adminv1.ListGossipKeysRequest{})
				if err != nil {
					return fmt.Errorf("list keys: %w", plain(err))
				}
				return a.printKeys(keysOf(resp.GetMembers()))
			})
		},
	}
}

func (a *app) keysRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Give the fleet a new gossip key and remove the old ones, without a restart",
		Long: "Makes a new key, which every member learns, then encrypts with, and then forgets all others. Each step\n" +
			"begins when every member did the one before. Files of keys are rewritten, so that a restart comes back with\n" +
			"the new key. If a member misses a step the rotation stops there; the fleet is whole. Run it again then.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.askKeys(cmd, max(a.common.Timeout, rotationTime), a.rotate)
		},
	}
}

func (a *app) rotate(ctx context.Context, keys adminv1.KeyServiceClient) error {
	resp, err := keys.RotateGossipKeys(ctx, &adminv1.RotateGossipKeysRequest{})
	if err != nil {
		return fmt.Errorf("rotate keys: %w", plain(err))
	}
	done := rotated{resp.GetKey(), resp.GetStopped(), keysOf(resp.GetMembers())}
	if a.common.json() {
		err = printJSON(a.Stdout, done)
	} else {
		err = a.printKeys(done.Members)
	}
	switch {
	case err != nil:
		return err
	case done.Stopped != "":
		return fmt.Errorf("stopped at step %s, because somebody did not do it; the fleet is whole: put that right and run it again", done.Stopped)
	case !a.common.json():
		fmt.Fprintf(a.Stdout, "\nEvery member has key %s and no other. Keep a copy of a member's file for new members.\n", done.Key)
	}
	return nil
}

// askKeys asks a router about the keys of the fleet.
func (a *app) askKeys(cmd *cobra.Command, within time.Duration, ask func(context.Context, adminv1.KeyServiceClient) error) error {
	conn, err := a.router(cmd.Context())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := context.WithTimeout(cmd.Context(), within)
	defer cancel()
	return ask(ctx, adminv1.NewKeyServiceClient(conn))
}

// rotated is a rotation as it is printed.
type rotated struct {
	Key     string       `json:"key"`
	Stopped string       `json:"stopped,omitempty"`
	Members []memberKeys `json:"members"`
}

// memberKeys are the keys of one member as they are printed.
type memberKeys struct {
	Member  string   `json:"member"`
	Keys    []string `json:"keys"`
	Problem string   `json:"problem,omitempty"`
}

func keysOf(members []*adminv1.MemberKeys) []memberKeys {
	list := []memberKeys{}
	for _, m := range members {
		list = append(list, memberKeys{m.GetMember(), append([]string{}, m.GetKeys()...), m.GetProblem()})
	}
	return list
}

// printKeys prints a table, or JSON if that was asked for.
func (a *app) printKeys(members []memberKeys) error {
	if a.common.json() {
		return printJSON(a.Stdout, members)
	}
	var rows [][]any
	for _, m := range members {
		encrypts, others := "-", "-"
		if len(m.Keys) > 0 {
			encrypts = m.Keys[0]
		}
		if len(m.Keys) > 1 {
			others = strings.Join(m.Keys[1:], " ")
		}
		rows = append(rows, []any{printable(m.Member), printable(encrypts), printable(others), printable(m.Problem)})
	}
	printOr(a.Stdout, "No members.", []string{"member", "encrypts with", "also decrypts", "problem"}, rows)
	return nil
}
