package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

func (a *app) connCommand() *cobra.Command {
	var w watcher
	cmd := &cobra.Command{
		Use:               "conn EDGE/ID",
		Short:             "Show one client's connection: user, topics, queue, age, when it was heard last",
		Example:           "  skein conn edge-1/1009",
		Args:              exactly("EDGE/ID"),
		ValidArgsFunction: a.completeConn,
		RunE: func(cmd *cobra.Command, args []string) error {
			edge, id, err := parseConnection(args[0])
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				var c conn
				err := a.withAdmin(ctx, func(ctx context.Context, client adminv1.AdminServiceClient) error {
					resp, err := client.Connection(ctx, &adminv1.ConnectionRequest{Edge: edge, Id: id})
					c = newConn(resp.GetConnection())
					return err
				})
				return shown{c, func(out io.Writer) { printConn(out, c) }}, err
			})
		},
	}
	w.flags(cmd)
	return cmd
}

// parseConnection reads EDGE/ID.
func parseConnection(text string) (edge string, id uint64, err error) {
	i := strings.LastIndexByte(text, '/')
	id, err = strconv.ParseUint(text[i+1:], 10, 64)
	if i < 1 || err != nil || id == 0 {
		return "", 0, fmt.Errorf("connection: %q is not EDGE/ID, such as edge-1/42", text)
	}
	return text[:i], id, nil
}

// completeConn offers the edges of connections; the ids are too many.
func (a *app) completeConn(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	offers, directive := a.completeEdges(cmd, args, begun)
	for i := range offers {
		offers[i] += "/"
	}
	return offers, directive | cobra.ShellCompDirectiveNoSpace
}

func printConn(w io.Writer, c conn) {
	state := ""
	if c.Closing {
		state = ", closing"
	}
	for _, field := range [][2]string{
		{"connection", c.Connection + state},
		{"user", orDash(c.User)},
		{"transport", c.Transport + " at " + c.Mount},
		{"address", c.Address},
		{"open for", millis(c.AgeMs)},
		{"last heard", millis(c.SilenceMs) + " ago"},
		{"queue", countedUp(c.QueueBytes, "byte")},
		{"unanswered", fmt.Sprintf("%d of its pushes", c.Unanswered)},
		{"channels", strconv.FormatUint(uint64(c.ChannelCount), 10)},
	} {
		fmt.Fprintf(w, "%-11s %s\n", field[0], printable(field[1]))
	}
	for _, t := range c.Topics {
		fmt.Fprintf(w, "  %s\n", printable(t))
	}
}
