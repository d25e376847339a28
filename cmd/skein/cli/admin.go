package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// withAdmin asks the first router that answers, within the time of one question.
func (a *app) withAdmin(ctx context.Context, ask func(context.Context, adminv1.AdminServiceClient) error) error {
	conn, err := a.router(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(ctx)
	defer cancel()
	if err := ask(ctx, adminv1.NewAdminServiceClient(conn)); err != nil {
		return fmt.Errorf("ask %s: %w", conn.Target(), plain(err))
	}
	return nil
}

// nodeConn returns a connection to who answers for a node: itself, or a router if
// it is an edge, as what no member is called is taken for one.
func (a *app) nodeConn(ctx context.Context, node string) (*grpc.ClientConn, error) {
	conn, all, err := a.processes(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p process) bool { return p.id == node })
	if i < 0 || all[i].address == "" {
		return conn, nil
	}
	_ = conn.Close() // only members were asked of it
	if conn, err = a.connect(ctx, all[i].address); err != nil {
		return nil, fmt.Errorf("cannot reach %s at %s: %w", node, all[i].address, err)
	}
	return conn, nil
}

// process is one of the fleet. The router that was asked first answers for its
// edges, and for itself.
type process struct {
	id, address string // address is empty for who is asked through that router
	role        meshv1.Role
}

// processes returns a connection to the first router that answers, and who is in
// its fleet: members, then edges, which have no role.
func (a *app) processes(ctx context.Context) (*grpc.ClientConn, []process, error) {
	conn, err := a.router(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := a.question(ctx)
	defer cancel()
	resp, err := adminv1.NewAdminServiceClient(conn).Members(ctx, &adminv1.MembersRequest{})
	if err != nil {
		_ = conn.Close() // it is the error that counts
		return nil, nil, fmt.Errorf("ask %s for its members: %w", conn.Target(), plain(err))
	}
	var all []process
	for _, m := range resp.GetView().GetMembers() {
		p := process{m.GetId(), m.GetAddress(), m.GetRole()}
		if p.id == resp.GetSelf() {
			p.address = ""
		}
		all = append(all, p)
	}
	for _, e := range resp.GetEdges() {
		all = append(all, process{id: e.GetId()})
	}
	return conn, all, nil
}

// completeNodes offers the ids of all processes that a router knows.
func (a *app) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || a.resolve() != nil { // cobra does not resolve, for completions
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []string
	err := a.withAdmin(cmd.Context(), func(ctx context.Context, c adminv1.AdminServiceClient) error {
		resp, err := c.Members(ctx, &adminv1.MembersRequest{})
		for _, m := range resp.GetView().GetMembers() {
			offers = append(offers, m.GetId())
		}
		for _, e := range resp.GetEdges() {
			offers = append(offers, e.GetId())
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
