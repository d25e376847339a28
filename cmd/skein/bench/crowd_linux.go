package bench

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// peopleTopic is a topic of people who are listed.
func peopleTopic(i int) string { return "presence:bench:" + strconv.Itoa(i) }

// crowd is all people of a run. It belongs to the loop.
type crowd struct {
	options PeopleOptions
	prefix  string // of everybody's key
	lists   []*roster
	gone    int // who left, as the server confirmed
}

func newCrowd(o PeopleOptions) *crowd {
	return &crowd{options: o, prefix: strings.ToLower(rand.Text()[:4]) + "-"}
}

// person makes the i-th socket. The first of each topic follow its list.
func (w *crowd) person(i int) *conn {
	c := &conn{topic: i % w.options.Topics}
	if i < w.options.Sample*w.options.Topics {
		inTopic := (w.options.People - c.topic + w.options.Topics - 1) / w.options.Topics
		c.list = newRoster(w.prefix, inTopic)
		w.lists = append(w.lists, c.list)
	}
	return c
}

// params are what a socket joins with.
func (w *crowd) params(c *conn) string { return fmt.Sprintf(`{"user_id":"%s%d"}`, w.prefix, c.index) }

// take handles what is about people, and what the server says to those who leave.
func (w *crowd) take(c *conn, payload []byte) (taken bool, err error) {
	if bytes.Contains(payload[:min(len(payload), 100)], []byte(`,"presence_`)) {
		if c.list == nil {
			return true, nil // it was counted
		}
		m, err := decode(payload)
		if err != nil || m.event != "presence_state" && m.event != "presence_diff" {
			return true, err
		}
		return true, c.list.take(m.event, m.payload)
	}
	if !c.leaving {
		return false, nil
	}
	m, err := decode(payload)
	if err == nil && m.event == "phx_reply" && m.ref == leaveRef {
		w.gone++
	}
	return true, err
}

// short is how many lists do not have so many people; 0 stands for all of the
// topic.
func (w *crowd) short(people int) int {
	n := 0
	for _, l := range w.lists {
		want := l.want
		if people > 0 {
			want = people
		}
		if len(l.refs) != want {
			n++
		}
	}
	return n
}

// calls adds up calls of onJoin and onLeave of all lists, and which of them were
// for no reason.
func (w *crowd) calls() (all, joins, leaves int) {
	for _, l := range w.lists {
		all += l.calls
		joins += l.spuriousJoins
		leaves += l.spuriousLeaves
	}
	return all, joins, leaves
}
