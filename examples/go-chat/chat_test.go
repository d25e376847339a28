package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

func join(t *testing.T, c *chat, topic, name, token string) *handlerv1.JoinResponse {
	t.Helper()
	r, err := c.Join(t.Context(), &handlerv1.JoinRequest{
		Caller: &handlerv1.Caller{Topic: topic},
		Params: payload(map[string]string{"name": name, "token": token}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// push sends as the channel of a join; sent is the payload.
func push(t *testing.T, c *chat, from *handlerv1.Caller, event string, sent any) *handlerv1.PushResponse {
	t.Helper()
	r, err := c.Push(t.Context(), &handlerv1.PushRequest{
		Caller: from, Event: event, Payload: payload(sent),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNamesBelongToWhoHasTheirToken(t *testing.T) {
	c := newChat([]byte("secret"))
	first := join(t, c, "room:a", "ada", "")
	var reply struct{ Token string }
	if err := json.Unmarshal(first.GetReply().GetJson(), &reply); err != nil || first.GetRefused() || reply.Token == "" {
		t.Fatalf("%v %v", first, err)
	}
	for _, try := range []struct {
		name, token string
		refused     bool
	}{{"ada", "", true}, {"ada", "00", true}, {"eve", reply.Token, true}, {"Ada!", "", true}, {"", "", true}, {"ada", reply.Token, false}} {
		if got := join(t, c, "room:b", try.name, try.token); got.GetRefused() != try.refused {
			t.Errorf("%+v: %s", try, got.GetReply().GetJson())
		}
	}
}

func TestWhatIsSaid(t *testing.T) {
	c := newChat([]byte("secret"))
	ada := &handlerv1.Caller{Topic: "room:a", Assigns: join(t, c, "room:a", "ada", "").GetAssigns()}
	for i := range historyLength + 3 {
		r := push(t, c, ada, "say", map[string]string{"text": fmt.Sprint("text ", i)})
		if r.GetReply().GetStatus() != "ok" || len(r.GetBroadcasts()) != 1 {
			t.Fatal(r)
		}
	}
	for _, text := range []string{"", "a SCAM", strings.Repeat("x", longestText+1)} {
		r := push(t, c, ada, "say", map[string]string{"text": text})
		if r.GetReply().GetStatus() != "error" || len(r.GetBroadcasts()) != 0 {
			t.Errorf("%q was passed on: %v", text, r)
		}
	}
	var history struct{ Messages []said }
	bob := join(t, c, "room:a", "bob", "")
	if err := json.Unmarshal(bob.GetPushes()[0].GetPayload().GetJson(), &history); err != nil {
		t.Fatal(err)
	}
	if got := history.Messages; len(got) != historyLength || got[0].Text != "text 3" || got[0].From != "ada" {
		t.Errorf("history: %v", got)
	}
}

func TestPrivateRooms(t *testing.T) {
	c := newChat([]byte("secret"))
	const topic = privatePrefix + "x"
	if got := join(t, c, topic, "ada", "00"); !got.GetRefused() {
		t.Fatal("a token that is wrong opened a room")
	}
	ada := &handlerv1.Caller{Topic: topic, Assigns: join(t, c, topic, "ada", "").GetAssigns()}
	if got := join(t, c, topic, "bob", ""); !got.GetRefused() {
		t.Error("bob was not invited")
	}
	push(t, c, ada, "invite", map[string]string{"name": "bob"})
	if got := join(t, c, topic, "bob", ""); got.GetRefused() {
		t.Errorf("bob was invited: %s", got.GetReply().GetJson())
	}
}
