package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func (a *app) membersCommand() *cobra.Command {
	var w watcher
	cmd := &cobra.Command{
		Use:     "members",
		Aliases: []string{"status"},
		Short:   "Show routers, presence instances and edges, and whether the routers agree",
		Long: "Asks one router who is in the fleet, then every router of the fleet what it believes.\n" +
			"Routers that disagree show different views; edges that are not synced are sent everything.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				fleet, err := a.fleet(ctx)
				return shown{fleet, func(out io.Writer) { printFleet(out, fleet, time.Now()) }}, err
			})
		},
	}
	w.flags(cmd)
	return cmd
}

// fleet is what all routers together say.
type fleet struct {
	Agree    bool       `json:"agree"` // every router answered, with the same view
	Asked    string     `json:"asked"` // id of the router that was asked first
	Routers  []member   `json:"routers"`
	Presence []member   `json:"presence"`
	Edges    []edgeLine `json:"edges"`
}

type member struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Address     string `json:"address"`
	Version     string `json:"version"`
	Incarnation uint64 `json:"incarnation"`
	View        string `json:"view,omitempty"`  // hash of a router's own view
	Edges       int    `json:"edges,omitempty"` // attached to a router
	Error       string `json:"error,omitempty"` // why it did not answer
}

// edgeLine is one edge as the routers see it.
type edgeLine struct {
	ID          string `json:"id"`
	Version     string `json:"version"`
	Incarnation uint64 `json:"incarnation"`
	Attached    int    `json:"attached"` // routers it is attached to
	Synced      int    `json:"synced"`   // routers that know all its topics
	Rows        uint64 `json:"rows"`     // topics announced, over all routers
}

// fleet asks the first router that answers, then all that it names.
func (a *app) fleet(ctx context.Context) (*fleet, error) {
	conn, err := a.router(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // done with it
	question, cancel := a.question(ctx)
	defer cancel()
	first, err := adminv1.NewAdminServiceClient(conn).Members(question, &adminv1.MembersRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its members: %w", conn.Target(), plain(err))
	}
	f := &fleet{Asked: first.GetSelf(), Routers: []member{}, Presence: []member{}, Edges: []edgeLine{}}
	for _, m := range first.GetView().GetMembers() {
		line := member{
			ID: m.GetId(), State: words(m.GetState(), "STATE_"), Address: m.GetAddress(), Version: m.GetVersion(), Incarnation: m.GetIncarnation(),
		}
		if m.GetRole() == meshv1.Role_ROLE_ROUTER {
			f.Routers = append(f.Routers, line)
		} else {
			f.Presence = append(f.Presence, line)
		}
	}
	f.gather(a.askAll(ctx, conn, first, f.Routers))
	return f, nil
}

// askAll asks every router but the first, which has answered already over conn.
func (a *app) askAll(ctx context.Context, conn *grpc.ClientConn, first *adminv1.MembersResponse, all []member) []*adminv1.MembersResponse {
	answers := make([]*adminv1.MembersResponse, len(all))
	routers := make([]process, len(all))
	for i, m := range all {
		if routers[i] = (process{id: m.ID, address: m.Address}); m.ID == first.GetSelf() {
			routers[i].address = ""
		}
	}
	errs := a.askEach(ctx, conn, routers, func(ctx context.Context, i int, c adminv1.AdminServiceClient) (err error) {
		if answers[i] = first; routers[i].address != "" {
			answers[i], err = c.Members(ctx, &adminv1.MembersRequest{})
		}
		return err
	})
	for i, err := range errs {
		if err != nil {
			all[i].Error = plain(err).Error()
		}
	}
	return answers
}

// askEach asks some processes at once, each within the time of one question, and
// returns the error of each. first is the connection of [app.processes].
func (a *app) askEach(
	ctx context.Context, first *grpc.ClientConn, all []process, ask func(ctx context.Context, i int, c adminv1.AdminServiceClient) error,
) []error {
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, p := range all {
		group.Go(func() error {
			conn := first
			if p.address != "" {
				if conn, errs[i] = a.connect(ctx, p.address); errs[i] != nil {
					return nil
				}
				defer conn.Close() //nolint:errcheck // done with it
			}
			ctx, cancel := a.question(ctx)
			defer cancel()
			errs[i] = ask(ctx, i, adminv1.NewAdminServiceClient(conn))
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	return errs
}

// gather puts the answers together, one for each router or nil.
func (f *fleet) gather(answers []*adminv1.MembersResponse) {
	edges := map[string]*edgeLine{}
	views := map[string]bool{}
	for i, answer := range answers {
		if answer == nil {
			views["?"+f.Routers[i].ID] = true
			continue
		}
		f.Routers[i].View, f.Routers[i].Edges = view(answer.GetView().GetHash()), len(answer.GetEdges())
		views[f.Routers[i].View] = true
		for _, e := range answer.GetEdges() {
			line := edges[e.GetId()]
			if line == nil {
				line = &edgeLine{ID: e.GetId(), Version: e.GetVersion(), Incarnation: e.GetIncarnation()}
				edges[e.GetId()] = line
			}
			line.Attached++
			line.Rows += e.GetRows()
			if e.GetSynced() {
				line.Synced++
			}
		}
	}
	f.Agree = len(views) == 1
	for _, line := range edges {
		f.Edges = append(f.Edges, *line)
	}
	slices.SortFunc(f.Edges, func(x, y edgeLine) int { return cmp.Compare(x.ID, y.ID) })
}

func printFleet(w io.Writer, f *fleet, now time.Time) {
	rows := [][]any{}
	for _, r := range f.Routers {
		believes := r.View
		if r.Error != "" {
			believes = "no answer: " + r.Error
		}
		rows = append(rows, []any{r.ID, r.State, r.Version, r.Address, ago(r.Incarnation, now), r.Edges, believes})
	}
	printTable(w, []string{"router", "state", "version", "address", "up", "edges", "view"}, rows)
	fmt.Fprintln(w, f.agreement())

	rows = [][]any{}
	for _, p := range f.Presence {
		rows = append(rows, []any{p.ID, p.State, p.Version, p.Address, ago(p.Incarnation, now)})
	}
	fmt.Fprintln(w)
	printOr(w, "No presence instances.", []string{"presence", "state", "version", "address", "up"}, rows)

	rows = [][]any{}
	for _, e := range f.Edges {
		of := func(n int) string { return fmt.Sprintf("%d/%d", n, len(f.Routers)) }
		rows = append(rows, []any{e.ID, e.Version, ago(e.Incarnation, now), of(e.Attached), of(e.Synced), e.Rows})
	}
	fmt.Fprintln(w)
	printOr(w, "No edges.", []string{"edge", "version", "up", "attached", "synced", "rows"}, rows)
}

func printOr(w io.Writer, none string, header []string, rows [][]any) {
	if len(rows) == 0 {
		fmt.Fprintln(w, none)
		return
	}
	printTable(w, header, rows)
}

// agreement says in one line whether the routers believe the same.
func (f *fleet) agreement() string {
	silent, believers := []string{}, map[string][]string{}
	for _, r := range f.Routers {
		if r.Error != "" {
			silent = append(silent, r.ID)
		} else {
			believers[r.View] = append(believers[r.View], r.ID)
		}
	}
	var parts []string
	if len(believers) == 1 {
		for hash, ids := range believers {
			parts = append(parts, fmt.Sprintf("View %s: %s.", hash, agreeing(len(ids))))
		}
	} else {
		parts = append(parts, "DISAGREEMENT:")
		for _, hash := range slices.Sorted(maps.Keys(believers)) {
			parts = append(parts, fmt.Sprintf("%s by %s;", hash, strings.Join(believers[hash], ", ")))
		}
		parts = append(parts, "normal for a moment after a change.")
	}
	if len(silent) > 0 {
		parts = append(parts, "No answer from "+strings.Join(silent, ", ")+".")
	}
	return strings.Join(parts, " ")
}

func agreeing(n int) string {
	if n == 1 {
		return "1 router, alone"
	}
	return fmt.Sprintf("%d routers agree", n)
}
