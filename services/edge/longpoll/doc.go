// Package longpoll serves Phoenix's second transport: a client whose WebSockets
// do not get through asks for messages with GET and sends its own with POST.
//
// # Wire
//
// Every answer is HTTP 200 with a status in its JSON body, as Phoenix's are; two
// are not: 400 for other methods, and 503 without a body from an edge that
// drains or cannot serve, which balancers understand and phoenix.js takes for a
// reason to try again. A GET without a token that leads to a session opens one
// and answers 410 and its token. Any other GET waits for messages, at most for
// the window.
//
//	200  messages, or the messages of a POST were taken in
//	204  no messages within the window, or another GET took over
//	403  refused
//	408  a POST was not taken in within the window; the rest of it is dropped
//	410  no such session; a GET opened another one
//	413  a POST is too large; none of it was handled
//	429  too many POSTs of one session at once; none of it was handled
//	500  the session ended, and the client should connect again
//
// A session that Phoenix would end too (not polled for 1.5 windows, not
// speaking the protocol, disconnected by a backend) ends with 410 as there.
// phoenix.js before 1.8.2 then goes on without its channels. Where Phoenix
// leaves us the choice (drain, slow reader, an edge that is gone) the answer is
// 500, after which phoenix.js connects again and rejoins (so 1.5 to 1.8.16).
//
// # Binary
//
// Clients send binary frames as lines in base64. To a client everything is a
// string of JSON text, in which phoenix.js has no way to decode bytes: where a
// binary payload should stand, it gets {"_skein_b64": "..."} in a text message
// that is otherwise the same.
//
// # Sessions
//
// A session lives in the memory of one edge. Its token names the edge and a
// secret of 128 bits; any other edge passes requests on through a router, so a
// balancer need not be sticky. A token is good for the mount it came from only.
//
// HTTP has no acknowledgement: what a broken connection swallows while a GET is
// answered is lost. phoenix.js connects again after that. A GET whose client is
// known to be gone takes nothing.
//
// # Goroutines
//
// None but [Server.Run]: a request runs on the goroutine that serves it. The
// handler of a session is called by whoever holds its turn: a POST, or Run when
// it ends.
package longpoll
