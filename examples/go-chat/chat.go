package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

const (
	privatePrefix = "room:private:"
	historyLength = 20
	longestText   = 500 // bytes
)

var (
	banned   = regexp.MustCompile(`(?i)\b(spam|scam)\b`)
	goodName = regexp.MustCompile(`^[a-z0-9_]{1,20}$`)
)

// chat decides about rooms. It keeps them in memory, so run one of it.
type chat struct {
	handlerv1.UnimplementedChannelHandlerServer // Connect, CheckOrigin: this chat is not asked

	secret []byte // signs tokens; new with each start

	// mu guards the fields below.
	mu    sync.Mutex
	names map[string]bool // that have a token
	rooms map[string]*room
}

// room is one topic.
type room struct {
	guests  map[string]bool // who may join a private room; nil for everybody
	history []said
}

// said is one message as clients get it.
type said struct {
	From string    `json:"from"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// assigns is what Skein keeps for us from one call about a channel to the next.
type assigns struct {
	Name string `json:"name"`
}

func newChat(secret []byte) *chat {
	return &chat{secret: secret, names: map[string]bool{}, rooms: map[string]*room{}}
}

// Join lets a client into a room. Its params are {"name": ..., "token": ...};
// the first join of a name needs no token, and its reply brings one.
func (c *chat) Join(_ context.Context, r *handlerv1.JoinRequest) (*handlerv1.JoinResponse, error) {
	var p struct {
		Name  string `json:"name"`
		Token string `json:"token"`
	}
	if json.Unmarshal(r.GetParams().GetJson(), &p) != nil || !goodName.MatchString(p.Name) {
		return refuse("a name of 1 to 20 letters, digits or _ is needed"), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Token == "" && c.names[p.Name] {
		return refuse("this name is taken: join with its token"), nil
	}
	if p.Token != "" && !hmac.Equal([]byte(p.Token), []byte(c.token(p.Name))) {
		return refuse("this token is not for this name"), nil
	}
	room := c.room(r.GetCaller().GetTopic(), p.Name)
	if room.guests != nil && !room.guests[p.Name] {
		return refuse("by invitation only"), nil
	}
	c.names[p.Name] = true
	return &handlerv1.JoinResponse{
		Reply:    payload(map[string]any{"token": c.token(p.Name)}),
		Assigns:  encode(assigns{p.Name}),
		Pushes:   []*handlerv1.Event{{Name: "history", Payload: payload(map[string]any{"messages": room.history})}},
		Presence: &handlerv1.Person{Key: p.Name, Meta: encode(map[string]any{"since": time.Now()})},
	}, nil
}

// room finds a room or opens it. Who opens a private one is its first guest.
func (c *chat) room(topic, name string) *room {
	found := c.rooms[topic]
	if found == nil {
		found = &room{history: []said{}}
		if strings.HasPrefix(topic, privatePrefix) {
			found.guests = map[string]bool{name: true}
		}
		c.rooms[topic] = found
	}
	return found
}

func (c *chat) token(name string) string {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(name))
	return hex.EncodeToString(mac.Sum(nil))
}

// Push takes what a member of a room sends.
func (c *chat) Push(_ context.Context, r *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	var from assigns
	var p struct {
		Text string `json:"text"` // of say
		Name string `json:"name"` // of invite
	}
	if err := json.Unmarshal(r.GetCaller().GetAssigns(), &from); err != nil {
		return nil, err // for the client the channel crashed, and it joins again
	}
	if json.Unmarshal(r.GetPayload().GetJson(), &p) != nil {
		return answer("error", "an object is needed"), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	room := c.room(r.GetCaller().GetTopic(), from.Name)
	switch r.GetEvent() {
	case "say":
		return room.say(from.Name, p.Text), nil
	case "invite":
		return room.invite(p.Name), nil
	}
	return answer("error", "say or invite"), nil
}

// say tells everybody in the room, the sender included.
func (r *room) say(from, text string) *handlerv1.PushResponse {
	switch {
	case text == "" || len(text) > longestText:
		return answer("error", "a text of 1 to 500 bytes is needed")
	case banned.MatchString(text):
		return answer("error", "that word is not said here")
	}
	message := said{From: from, Text: text, At: time.Now()}
	r.history = append(r.history, message)
	r.history = r.history[max(0, len(r.history)-historyLength):]
	out := answer("ok", "")
	out.Broadcasts = []*handlerv1.Broadcast{{Event: &handlerv1.Event{Name: "said", Payload: payload(message)}}}
	return out
}

func (r *room) invite(name string) *handlerv1.PushResponse {
	switch {
	case r.guests == nil:
		return answer("error", "this room is open to everybody")
	case !goodName.MatchString(name):
		return answer("error", "whom?")
	}
	r.guests[name] = true
	return answer("ok", "")
}

// Leave is told when a member is gone. Who is online is Skein's to know.
func (c *chat) Leave(context.Context, *handlerv1.LeaveRequest) (*handlerv1.LeaveResponse, error) {
	return &handlerv1.LeaveResponse{}, nil
}

func refuse(reason string) *handlerv1.JoinResponse {
	return &handlerv1.JoinResponse{Refused: true, Reply: payload(map[string]any{"reason": reason})}
}

func answer(status, reason string) *handlerv1.PushResponse {
	response := map[string]any{}
	if reason != "" {
		response["reason"] = reason
	}
	return &handlerv1.PushResponse{Reply: &handlerv1.Reply{Status: status, Response: payload(response)}}
}

func payload(value any) *handlerv1.Payload {
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: encode(value)}}
}

func encode(value any) []byte {
	text, _ := json.Marshal(value) //nolint:errchkjson // our own values always have a JSON form
	return text
}
