package cli

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// fakePeople has some people, in every topic but "empty" and "broken".
type fakePeople struct {
	presencev1.UnimplementedPeopleServiceServer

	people []*presencev1.Person
}

func (f *fakePeople) List(_ context.Context, r *presencev1.PeopleServiceListRequest) (*presencev1.PeopleServiceListResponse, error) {
	if r.GetTopic() == "broken" {
		return nil, status.Error(codes.Unavailable, "presence: edges have not said yet who is online; ask again in a moment")
	}
	if r.GetTopic() == "empty" {
		return &presencev1.PeopleServiceListResponse{}, nil
	}
	for i, p := range f.people {
		if p.GetKey() > r.GetAfter() {
			return &presencev1.PeopleServiceListResponse{People: f.people[i : i+1], More: i+1 < len(f.people)}, nil
		}
	}
	return &presencev1.PeopleServiceListResponse{}, nil
}

func (f *fakePeople) Count(context.Context, *presencev1.PeopleServiceCountRequest) (*presencev1.PeopleServiceCountResponse, error) {
	return &presencev1.PeopleServiceCountResponse{People: 3, Keys: 1}, nil
}

func (f *fakePeople) IsOnline(_ context.Context, r *presencev1.PeopleServiceIsOnlineRequest) (*presencev1.PeopleServiceIsOnlineResponse, error) {
	resp := &presencev1.PeopleServiceIsOnlineResponse{}
	for _, key := range r.GetKeys() {
		if slices.ContainsFunc(f.people, func(p *presencev1.Person) bool { return p.GetKey() == key }) {
			resp.Online = append(resp.Online, key)
		}
	}
	return resp, nil
}

func (f *fakePeople) Watch(_ *presencev1.PeopleServiceWatchRequest, stream presencev1.PeopleService_WatchServer) error {
	_ = stream.Send(&presencev1.PeopleServiceWatchResponse{State: true, Joins: f.people})
	_ = stream.Send(&presencev1.PeopleServiceWatchResponse{Joins: f.people[:1], Leaves: f.people[1:]})
	return status.Error(codes.Unavailable, "presence: another instance took the topic over: watch again")
}

func TestPeople(t *testing.T) {
	f := &fakePeople{people: []*presencev1.Person{
		{Key: "ann\x1b[2J", Ref: "r1", Meta: `{"name":"<Ann>"}`},
		{Key: "bob", Ref: "r3", RefPrev: "r2", Meta: `{}`},
	}}
	env := map[string]string{"SKEIN_PRESENCE": serve(t, func(s *grpc.Server) { presencev1.RegisterPeopleServiceServer(s, f) })}
	times := []string{`\d\d:\d\d:\d\d\.\d{3}`, "TIME", `"time":"[^"]*"`, `"time":"TIME"`}
	all := func(format ...string) string {
		var text strings.Builder
		for _, args := range [][]string{
			{"list", "room"}, {"list", "empty"}, {"count", "room"}, {"online", "bob", "eve"}, {"watch", "room"},
		} {
			text.WriteString("$ skein people " + strings.Join(args, " ") + "\n")
			got := skein(t, env, "", slices.Concat([]string{"people"}, args, format)...)
			if want := args[0] == "watch"; (got.code == 1) != want {
				t.Errorf("%s: exit %d\n%s", args, got.code, got.stderr)
			}
			text.WriteString(got.stdout + "\n")
		}
		return text.String()
	}
	compare(t, "people.txt", all(), times...)
	compare(t, "people.json.txt", all("-o", "json"), times...)
}

func TestPeopleGoesWrong(t *testing.T) {
	env := map[string]string{"SKEIN_PRESENCE": serve(t, func(s *grpc.Server) {
		presencev1.RegisterPeopleServiceServer(s, &fakePeople{people: []*presencev1.Person{{Key: "a", Meta: "{}"}}})
	})}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list", "broken"}, 1, `who is in "broken": presence: edges have not said yet`},
		{[]string{"watch", "room"}, 1, "watch again\n"},
		{[]string{"list", ""}, 2, "topic: must be"},
		{[]string{"list"}, 2, "missing argument: TOPIC"},
		{[]string{"online"}, 2, "missing argument: KEY"},
		{[]string{"lost"}, 2, `unknown command "lost"`},
	} {
		got := skein(t, env, "", append([]string{"people"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%q: exit %d\n%s", c.args, got.code, got.stderr)
		}
	}
}
