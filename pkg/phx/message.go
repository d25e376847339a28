package phx

// list consumes a whole message of [V2]: its first four elements and its payload.
func (s *scanner) list() (head [4]token, payload []byte, ok bool) {
	if s.next() != '[' {
		return head, nil, false
	}
	const last = len(head) // the payload
	for i := 0; ; i++ {
		s.pos++ // the bracket or a comma
		t, ok := s.term()
		if !ok {
			return head, nil, false
		}
		switch {
		case i < last:
			head[i] = t
		case i == last:
			payload = t.raw
		}
		if c := s.next(); c == ']' && i >= last {
			break
		} else if c != ',' {
			return head, nil, false
		}
	}
	s.pos++
	return head, payload, s.start() == len(s.data)
}

// object consumes a whole message of [V1]. Only join_ref may be missing, and of
// keys that come twice the first counts. Other keys are ignored.
func (s *scanner) object() (head [4]token, payload []byte, ok bool) {
	const joinRef, ref, topic, event = 0, 1, 2, 3
	if s.next() != '{' {
		return head, nil, false
	}
	for {
		s.pos++ // the brace or a comma
		name, ok := s.name()
		if !ok {
			return head, nil, false
		}
		t, ok := s.term()
		if !ok {
			return head, nil, false
		}
		switch string(name) {
		case "join_ref":
			once(&head[joinRef], t)
		case "ref":
			once(&head[ref], t)
		case "topic":
			once(&head[topic], t)
		case "event":
			once(&head[event], t)
		case "payload":
			if payload == nil {
				payload = t.raw
			}
		}
		if c := s.next(); c == '}' {
			break
		} else if c != ',' {
			return head, nil, false
		}
	}
	s.pos++
	once(&head[joinRef], token{raw: []byte(Null)})
	complete := head[ref].raw != nil && head[topic].raw != nil && head[event].raw != nil && payload != nil
	return head, payload, complete && s.start() == len(s.data)
}

// once sets a token that is not set.
func once(t *token, to token) {
	if t.raw == nil {
		*t = to
	}
}

// term consumes a value, which is never empty.
func (s *scanner) term() (token, bool) {
	start := s.start()
	if !s.value() {
		return token{}, false
	}
	t := token{raw: s.data[start:s.pos]}
	if t.raw[0] == '"' && s.escapes {
		t.form = escaped
	}
	return t, true
}

// name consumes the key of a member and the colon behind it.
func (s *scanner) name() ([]byte, bool) {
	if s.next() != '"' {
		return nil, false
	}
	start := s.pos + 1
	if !s.str() {
		return nil, false
	}
	name := s.data[start : s.pos-1]
	if s.escapes {
		name = unquote(nil, name)
	}
	if s.next() != ':' {
		return nil, false
	}
	s.pos++
	return name, true
}

// Valid reports whether data is one JSON term that may be a payload.
func Valid(data []byte) bool {
	s := scanner{data: data}
	return s.value() && s.start() == len(data)
}
