package cli

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/tlsfiles/authority"
)

// certOrder is certificates that are to be there.
type certOrder struct {
	names     []string
	hosts     []string // that all are for, beside their names
	dir       string
	authority string // folder; empty for dir
	lifetime  string
}

func (a *app) keysCertsCommand() *cobra.Command {
	order := certOrder{dir: ".", lifetime: "30d"}
	cmd := &cobra.Command{
		Use:   "certs NAME...",
		Short: "Make or renew certificates of the fleet, and the authority that signs them",
		Long: "Keeps a certificate and key for each NAME, and ca.crt, in the folder --dir: what --tls-cert, --tls-key and\n" +
			"--tls-ca want. A NAME is a service, a host or a person; its certificate is for a host of that name, too.\n" +
			"They are signed by the authority in the folder --authority, ca.crt and ca.key, which is made if there is\n" +
			"none, and never overwritten: keep ca.key away from the nodes. Both folders must exist.\n\n" +
			"Run it again at any time: certificates that have less than a third of --for left are renewed, and those for\n" +
			"other hosts, or of another authority. Services take new files without a restart.",
		Example: "  skein keys certs router-1 router-2 presence-1 edge-1 operator --san skein.internal\n" +
			"  skein keys certs router-1 --san 10.0.0.4,router.example.com --for 90d --dir certs --authority private",
		Args: atLeastOne("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			order.names = args
			lifetime, err := order.validate()
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			certs, err := order.fill(lifetime, time.Now())
			if err != nil {
				return err
			}
			return a.printCerts(certs, order)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&order.dir, "dir", order.dir, "folder of the certificates and keys")
	flags.StringVar(&order.authority, "authority", "", "folder of the authority; empty for that of --dir")
	flags.StringSliceVar(&order.hosts, "san", nil, "DNS names and IP addresses that every certificate is for, beside its own name")
	flags.StringVar(&order.lifetime, "for", order.lifetime, "how long a certificate is good, such as 90d or 12h")
	return cmd
}

// atLeastOne refuses no arguments.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{cmd.CommandPath(), errors.New("missing argument: " + name)}
		}
		return nil
	}
}

// validate returns the lifetime, and everything that is wrong.
func (o certOrder) validate() (time.Duration, error) {
	lifetime, err := parseLifetime(o.lifetime)
	errs := []error{err}
	for _, name := range o.names {
		if !authority.ValidName(name) {
			errs = append(errs, fmt.Errorf("%q cannot be the name of a certificate: letters, digits, dots and hyphens can, and ca is taken", name))
		}
	}
	for _, host := range o.hosts {
		if host == "" || strings.ContainsAny(host, " /") {
			errs = append(errs, fmt.Errorf("--san: %q is neither a DNS name nor an IP address", host))
		}
	}
	return lifetime, errors.Join(errs...)
}

// parseLifetime reads days or what [time.ParseDuration] reads.
func parseLifetime(text string) (time.Duration, error) {
	lifetime, err := time.ParseDuration(text)
	if number, ok := strings.CutSuffix(text, "d"); ok {
		var days uint64
		days, err = strconv.ParseUint(number, 10, 16)
		lifetime = time.Duration(days) * 24 * time.Hour
	}
	if err != nil || lifetime < time.Minute || lifetime > authority.Lifetime {
		return 0, fmt.Errorf("--for: %q is not a time from 1m to %dd, such as 90d or 12h", text, authority.Lifetime/(24*time.Hour))
	}
	return lifetime, nil
}

// madeCert is a certificate as it is printed.
type madeCert struct {
	Name  string        `json:"name"`
	File  string        `json:"file"`
	For   []string      `json:"for,omitempty"` // hosts; none for the authority
	Until time.Time     `json:"until"`
	Did   authority.Did `json:"did"`
	Why   string        `json:"why,omitempty"`
}

// fill sees to it that both folders have what they should. The authority is first
// of what it returns.
func (o certOrder) fill(lifetime time.Duration, now time.Time) ([]madeCert, error) {
	folder := cmp.Or(o.authority, o.dir)
	signer, did, err := authority.Open(folder, now)
	if err != nil {
		return nil, err
	}
	if err := signer.Trust(o.dir); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	list := []madeCert{{Name: "ca", File: filepath.Join(folder, "ca.crt"), Until: signer.Until(), Did: did}}
	for _, name := range o.names {
		hosts := authority.Canonical(append([]string{name}, o.hosts...))
		state, err := signer.Keep(o.dir, authority.Wanted{Name: name, Hosts: hosts, For: lifetime}, now)
		if err != nil {
			return nil, fmt.Errorf("certificate of %s: %w", name, err)
		}
		list = append(list, madeCert{name, filepath.Join(o.dir, name+".crt"), hosts, state.Until, state.Did, state.Why})
	}
	return list, nil
}

func (a *app) printCerts(certs []madeCert, o certOrder) error {
	if a.common.json() {
		return printJSON(a.Stdout, certs)
	}
	var rows [][]any
	for _, c := range certs {
		done := string(c.Did)
		if c.Why != "" {
			done += ": " + printable(c.Why)
		}
		hosts := cmp.Or(strings.Join(c.For, " "), "-")
		rows = append(rows, []any{c.File, hosts, c.Until.UTC().Format(time.DateOnly), done})
	}
	printTable(a.Stdout, []string{"certificate", "for", "until", "done"}, rows)
	if certs[0].Did == authority.Made {
		fmt.Fprintf(a.Stdout, "\nKeep %s away from the nodes: who has it can be any of them.\n", filepath.Join(cmp.Or(o.authority, o.dir), "ca.key"))
	}
	return nil
}
