package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func (a *app) peopleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "people",
		Short: "Show who is online in a topic, or whether somebody is",
		Example: "  skein people list presence:lobby\n" +
			"  skein people watch presence:lobby\n" +
			"  skein people online user-1 user-2",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.topicOfPeople("list", "List who is online in a topic", a.listPeople),
		a.topicOfPeople("count", "Count who is online in a topic", a.countPeople),
		a.topicOfPeople("watch", "List who is online in a topic, and print each change as it comes", a.watchPeople),
		a.onlineCommand(),
	)
	return cmd
}

// peopleClient asks one presence instance.
type peopleClient struct {
	presencev1.PeopleServiceClient
	target string
}

// topicOfPeople is a command about the people of one topic.
func (a *app) topicOfPeople(name, short string, run func(context.Context, peopleClient, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   name + " TOPIC",
		Short: short,
		Args:  exactly("TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := channel.ValidateTopic(args[0]); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.withPeople(cmd.Context(), func(c peopleClient) error { return run(cmd.Context(), c, args[0]) })
		},
	}
}

// withPeople connects to a presence instance for as long as use takes.
func (a *app) withPeople(ctx context.Context, use func(peopleClient) error) error {
	conn, err := a.presence(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	return use(peopleClient{presencev1.NewPeopleServiceClient(conn), conn.Target()})
}

// onlinePerson is one person in JSON output.
type onlinePerson struct {
	Key     string          `json:"key"`
	Ref     string          `json:"ref"`
	RefPrev string          `json:"ref_prev,omitempty"`
	Meta    json.RawMessage `json:"meta"`
}

func newOnlinePeople(all []*presencev1.Person) []onlinePerson {
	people := make([]onlinePerson, 0, len(all))
	for _, p := range all {
		people = append(people, onlinePerson{p.GetKey(), p.GetRef(), p.GetRefPrev(), json.RawMessage(p.GetMeta())})
	}
	return people
}

func (a *app) listPeople(ctx context.Context, c peopleClient, topic string) error {
	people, err := a.allPeople(ctx, c, topic)
	if err != nil {
		return fmt.Errorf("ask %s who is in %q: %w", c.target, topic, plain(err))
	}
	if a.common.json() {
		return printJSON(a.Stdout, newOnlinePeople(people))
	}
	if len(people) == 0 {
		fmt.Fprintf(a.Stdout, "Nobody is online in %q.\n", topic)
		return nil
	}
	rows := [][]any{}
	for _, p := range people {
		rows = append(rows, []any{printable(p.GetKey()), p.GetRef(), printable(p.GetMeta())})
	}
	printTable(a.Stdout, []string{"key", "ref", "meta"}, rows)
	return nil
}

// allPeople gathers every page; each is a question of its own.
func (a *app) allPeople(ctx context.Context, c peopleClient, topic string) ([]*presencev1.Person, error) {
	var people []*presencev1.Person
	for after := ""; ; {
		page, err := ask(ctx, a, func(ctx context.Context) (*presencev1.PeopleServiceListResponse, error) {
			return c.List(ctx, &presencev1.PeopleServiceListRequest{Topic: topic, After: after})
		})
		if err != nil {
			return nil, err
		}
		people = append(people, page.GetPeople()...)
		if !page.GetMore() || len(page.GetPeople()) == 0 {
			return people, nil
		}
		after = people[len(people)-1].GetKey()
	}
}

// ask bounds the time of one call.
func ask[R any](ctx context.Context, a *app, call func(context.Context) (R, error)) (R, error) {
	ctx, cancel := a.question(ctx)
	defer cancel()
	return call(ctx)
}

func (a *app) countPeople(ctx context.Context, c peopleClient, topic string) error {
	n, err := ask(ctx, a, func(ctx context.Context) (*presencev1.PeopleServiceCountResponse, error) {
		return c.Count(ctx, &presencev1.PeopleServiceCountRequest{Topic: topic})
	})
	if err != nil {
		return fmt.Errorf("ask %s how many are in %q: %w", c.target, topic, plain(err))
	}
	if a.common.json() {
		return printJSON(a.Stdout, map[string]any{"topic": topic, "people": n.GetPeople(), "keys": n.GetKeys()})
	}
	fmt.Fprintf(a.Stdout, "%s with %s in %q.\n",
		counted(int(n.GetPeople()), "channel"), counted(int(n.GetKeys()), "key"), topic) //nolint:gosec // a number of channels
	return nil
}

func (a *app) onlineCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "online KEY...",
		Short: "Say which keys are online in any topic",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{cmd.CommandPath(), errors.New("missing argument: KEY")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withPeople(cmd.Context(), func(c peopleClient) error { return a.online(cmd.Context(), c, args) })
		},
	}
}

func (a *app) online(ctx context.Context, c peopleClient, keys []string) error {
	found, err := ask(ctx, a, func(ctx context.Context) (*presencev1.PeopleServiceIsOnlineResponse, error) {
		return c.IsOnline(ctx, &presencev1.PeopleServiceIsOnlineRequest{Keys: keys})
	})
	if err != nil {
		return fmt.Errorf("ask %s who is online: %w", c.target, plain(err))
	}
	online := map[string]bool{}
	rows := [][]any{}
	for _, key := range keys {
		online[key] = slices.Contains(found.GetOnline(), key)
		rows = append(rows, []any{printable(key), online[key]})
	}
	if a.common.json() {
		return printJSON(a.Stdout, online)
	}
	printTable(a.Stdout, []string{"key", "online"}, rows)
	return nil
}

// peopleLine is one change in JSON output, which is one line each.
type peopleLine struct {
	Time   time.Time      `json:"time"`
	State  bool           `json:"state,omitempty"` // joins are all there are
	Joins  []onlinePerson `json:"joins"`
	Leaves []onlinePerson `json:"leaves"`
}

func (a *app) watchPeople(ctx context.Context, c peopleClient, topic string) error {
	stream, err := c.Watch(ctx, &presencev1.PeopleServiceWatchRequest{Topic: topic})
	if err != nil {
		return fmt.Errorf("watch %q through %s: %w", topic, c.target, plain(err))
	}
	for {
		r, err := stream.Recv()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // ctrl-C is how one ends it
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s ended the watch: it may be restarting", c.target)
		case err != nil:
			return fmt.Errorf("watch %q through %s: %w", topic, c.target, plain(err))
		}
		if err := a.printChange(r, time.Now()); err != nil {
			return err
		}
	}
}

// printChange prints one line each person, or one line of JSON.
func (a *app) printChange(r *presencev1.PeopleServiceWatchResponse, now time.Time) error {
	if a.common.json() {
		encoder := json.NewEncoder(a.Stdout)
		encoder.SetEscapeHTML(false)
		line := peopleLine{now, r.GetState(), newOnlinePeople(r.GetJoins()), newOnlinePeople(r.GetLeaves())}
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	}
	sign := "+"
	if r.GetState() {
		sign = "="
	}
	for _, side := range []struct {
		sign   string
		people []*presencev1.Person
	}{{sign, r.GetJoins()}, {"-", r.GetLeaves()}} {
		for _, p := range side.people {
			fmt.Fprintf(a.Stdout, "%s %s %s %s\n", now.Format("15:04:05.000"), side.sign, printable(p.GetKey()), printable(p.GetMeta()))
		}
	}
	return nil
}
