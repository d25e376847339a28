package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// connFilter says which connections are meant, as flags do.
type connFilter struct {
	topic, user, edge string
	slow              uint64
	all               bool
	limit             uint32
}

func (a *app) connsCommand() *cobra.Command {
	var f connFilter
	var w watcher
	cmd := &cobra.Command{
		Use:   "conns",
		Short: "Find clients' connections: of a topic, of a user, or those that read too slowly",
		Long: "Asks every edge for the connections that match all that is said. --slow finds those to which something\n" +
			"waits to be sent, the longest queue first. All connections are shown only with --all and a --limit.",
		Example: "  skein conns --topic room:lobby\n" +
			"  skein conns --user 42\n" +
			"  skein conns --slow=65536 --watch\n" +
			"  skein conns --all --limit 20",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request()
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				list, err := a.conns(ctx, req)
				return shown{list, func(out io.Writer) { printConns(out, list) }}, err
			})
		},
	}
	cmd.Flags().StringVar(&f.topic, "topic", "", "the topic that is joined on them")
	cmd.Flags().StringVar(&f.user, "user", "", "the user, as tokens or the handler name it")
	cmd.Flags().StringVar(&f.edge, "edge", "", "the edge that holds them")
	cmd.Flags().Uint64Var(&f.slow, "slow", 0, "the least bytes that wait to be sent; 1 if it does not say")
	cmd.Flags().Lookup("slow").NoOptDefVal = "1"
	cmd.Flags().BoolVar(&f.all, "all", false, "whatever they are; needs --limit")
	cmd.Flags().Uint32Var(&f.limit, "limit", 0, "show so many at most, up to 1000 (default 100)")
	_ = cmd.RegisterFlagCompletionFunc("edge", a.completeEdges) // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completeTopics)
	w.flags(cmd)
	return cmd
}

// request checks the flags before anybody is asked: every mistake at once.
func (f connFilter) request() (*adminv1.ConnectionsRequest, error) {
	var errs []error
	filtered := f.topic != "" || f.user != "" || f.slow > 0
	switch {
	case !filtered && !f.all:
		errs = append(errs, errors.New("say which: --topic TOPIC, --user USER or --slow, or --all with --limit N"))
	case !filtered && f.limit == 0:
		errs = append(errs, errors.New("all: say how many, with --limit N of at most 1000"))
	}
	if f.limit > 1000 {
		errs = append(errs, fmt.Errorf("limit: must be at most 1000, got %d", f.limit))
	}
	if f.topic != "" {
		errs = append(errs, channel.ValidateTopic(f.topic))
	}
	return &adminv1.ConnectionsRequest{
		Topic: f.topic, User: f.user, MinQueueBytes: f.slow, Edge: f.edge, All: f.all, Limit: f.limit,
	}, errors.Join(errs...)
}

func (a *app) conns(ctx context.Context, req *adminv1.ConnectionsRequest) (conns, error) {
	var list conns
	err := a.withAdmin(ctx, func(ctx context.Context, c adminv1.AdminServiceClient) error {
		resp, err := c.Connections(ctx, req)
		list = newConns(resp)
		return err
	})
	return list, err
}

// conns is what edges found, in JSON output.
type conns struct {
	Matched     uint64       `json:"matched"`
	Edges       uint32       `json:"edges"` // that answered
	Connections []conn       `json:"connections"`
	Silent      []silentEdge `json:"silent"`
}

type silentEdge struct {
	Edge   string `json:"edge"`
	Reason string `json:"reason"`
}

type conn struct {
	Connection   string   `json:"connection"` // EDGE/ID
	User         string   `json:"user"`
	Transport    string   `json:"transport"`
	Mount        string   `json:"mount"`
	Address      string   `json:"address"`
	AgeMs        uint64   `json:"age_ms"`
	SilenceMs    uint64   `json:"silence_ms"`
	QueueBytes   uint64   `json:"queue_bytes"`
	Unanswered   uint32   `json:"unanswered"`
	Closing      bool     `json:"closing"`
	ChannelCount uint32   `json:"channels"`
	Topics       []string `json:"topics,omitempty"`
}

func newConns(resp *adminv1.ConnectionsResponse) conns {
	list := conns{resp.GetMatched(), resp.GetEdges(), []conn{}, []silentEdge{}}
	for _, c := range resp.GetConnections() {
		list.Connections = append(list.Connections, newConn(c))
	}
	for _, s := range resp.GetSilent() {
		list.Silent = append(list.Silent, silentEdge{s.GetEdge(), s.GetReason()})
	}
	return list
}

func newConn(c *meshv1.ConnectionInfo) conn {
	return conn{
		Connection: fmt.Sprintf("%s/%d", c.GetEdge(), c.GetId()), User: c.GetUser(), Transport: c.GetTransport(), Mount: c.GetMount(),
		Address: c.GetAddress(), AgeMs: c.GetAgeMs(), SilenceMs: c.GetSilenceMs(), QueueBytes: c.GetQueueBytes(),
		Unanswered: c.GetUnanswered(), Closing: c.GetClosing(), ChannelCount: c.GetChannels(), Topics: c.GetTopics(),
	}
}

// millis is a span in words.
func millis(ms uint64) string { return span(time.Duration(min(ms, 1<<40)) * time.Millisecond) }

func printConns(w io.Writer, list conns) {
	rows := [][]any{}
	for _, c := range list.Connections {
		rows = append(rows, []any{
			printable(c.Connection), orDash(c.User), c.Transport, printable(c.Address), millis(c.AgeMs), millis(c.SilenceMs), c.ChannelCount, c.QueueBytes,
		})
	}
	if len(rows) > 0 {
		printTable(w, []string{"connection", "user", "transport", "address", "age", "silent", "channels", "queue"}, rows)
	}
	switch of := "on " + countedUp(uint64(list.Edges), "edge"); {
	case list.Matched > uint64(len(list.Connections)):
		fmt.Fprintf(w, "%s %s; shown: %d. More with --limit, up to 1000.\n", countedUp(list.Matched, "connection"), of, len(list.Connections))
	case list.Matched == 0:
		fmt.Fprintf(w, "No connection matches %s.\n", of)
	default:
		fmt.Fprintf(w, "%s %s.\n", countedUp(list.Matched, "connection"), of)
	}
	for _, s := range list.Silent {
		fmt.Fprintf(w, "No answer from %s: %s\n", printable(s.Edge), printable(s.Reason))
	}
}

// orDash shows what is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}
