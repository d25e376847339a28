package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// target says whom to disconnect, as flags do.
type target struct{ user, connection, topic string }

func (a *app) kickCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "kick",
		Short: "Disconnect a user, a connection or a topic on every edge",
		Long: "Closes the connections of a user, or one connection; clients come back unless they are refused then.\n" +
			"With a topic it ends channels instead, of everybody or of the user or connection named, and connections\n" +
			"stay open; clients do not join those again by themselves.",
		Example: "  skein kick --user 42\n" +
			"  skein kick --connection edge-1/1009\n" +
			"  skein kick --topic room:lobby --user 42",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := t.request()
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.kick(cmd, req)
		},
	}
	cmd.Flags().StringVar(&t.user, "user", "", "the user, as tokens or the handler name it")
	cmd.Flags().StringVar(&t.connection, "connection", "", "the connection, as EDGE/ID")
	cmd.Flags().StringVar(&t.topic, "topic", "", "the topic whose channels are ended")
	_ = cmd.RegisterFlagCompletionFunc("connection", a.completeConn) // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completeTopics)
	return cmd
}

// request checks the flags before anybody is asked: every mistake at once.
func (t target) request() (*routerv1.DisconnectRequest, error) {
	if t == (target{}) {
		return nil, errors.New("say whom: --user USER, --connection EDGE/ID or --topic TOPIC")
	}
	req := &routerv1.DisconnectRequest{User: t.user, Topic: t.topic}
	var errs []error
	if t.connection != "" {
		edge, id, err := parseConnection(t.connection)
		errs = append(errs, err)
		req.Connection = &routerv1.Connection{Edge: edge, Id: id}
	}
	if t.topic != "" {
		errs = append(errs, channel.ValidateTopic(t.topic))
	}
	return req, errors.Join(errs...)
}

func (a *app) kick(cmd *cobra.Command, req *routerv1.DisconnectRequest) error {
	conn, err := a.router(cmd.Context())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(cmd.Context())
	defer cancel()
	resp, err := routerv1.NewRouterServiceClient(conn).Disconnect(ctx, req)
	if err != nil {
		return fmt.Errorf("disconnect: %w", plain(err))
	}
	done := kicked{resp.GetConnections(), resp.GetChannels(), resp.GetEdges()}
	if a.common.json() {
		return printJSON(a.Stdout, done)
	}
	printKicked(a.Stdout, done)
	return nil
}

// kicked is what was ended.
type kicked struct {
	Connections uint64 `json:"connections"`
	Channels    uint64 `json:"channels"`
	Edges       uint32 `json:"edges"`
}

func printKicked(w io.Writer, k kicked) {
	fmt.Fprintf(w, "Closed %s and ended %s on %s.\n",
		countedUp(k.Connections, "connection"), countedUp(k.Channels, "channel"), countedUp(uint64(k.Edges), "edge"))
}

// countedUp is [counted] for what a router counted.
func countedUp(n uint64, noun string) string {
	return counted(int(n), noun) //nolint:gosec // never that many
}
