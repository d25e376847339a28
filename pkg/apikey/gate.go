package apikey

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/refusal"
)

// Rule says what a call needs.
type Rule struct {
	Scope Scope
	// Topics returns the topics that a request names; nil for calls that name
	// none. See [Prefix].
	Topics func(request any) []string
}

// Rules of a server, by full method name ("/package.Service/Method") or by full
// service name ("package.Service"). The method's counts first. What has no rule
// needs [Admin], so that a new call is closed until somebody decides about it.
type Rules map[string]Rule

// common are the rules of services that every server has.
func common() Rules {
	return Rules{
		"grpc.health.v1.Health":                    {Scope: Anyone},
		"grpc.reflection.v1.ServerReflection":      {Scope: AnyKey},
		"grpc.reflection.v1alpha.ServerReflection": {Scope: AnyKey},
	}
}

// of returns the rule of a method, and whether there is one.
func (r Rules) of(method string) (Rule, bool) {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	for _, rules := range []Rules{r, common()} {
		if rule, ok := rules[method]; ok {
			return rule, true
		}
		if rule, ok := rules[service]; ok {
			return rule, true
		}
	}
	return Rule{Scope: Admin}, false
}

// Has reports whether somebody decided what a method needs.
func (r Rules) Has(method string) bool {
	_, ok := r.of(method)
	return ok
}

// Gate checks every call of a server. Its methods may be called concurrently.
type Gate struct {
	rules    Rules
	keys     *Keys
	tls      bool
	refusals *refusal.Log
}

// NewGate returns the gate of a server. Without TLS nobody has a certificate:
// calls between services are then open to all that reach the port, and so are
// all others unless there are keys.
func NewGate(rules Rules, keys *Keys, tls bool, refusals *refusal.Log) *Gate {
	return &Gate{rules: rules, keys: keys, tls: tls, refusals: refusals}
}

// Unary is a [grpc.UnaryServerInterceptor].
func (g *Gate) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	pass, err := g.admit(ctx, info.FullMethod)
	if err == nil {
		err = pass.check(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	return handler(context.WithValue(ctx, callerKey{}, pass.caller), req)
}

// Stream is a [grpc.StreamServerInterceptor].
func (g *Gate) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	pass, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handler(srv, &stream{ss, context.WithValue(ss.Context(), callerKey{}, pass.caller), pass})
}

// stream checks each request of a stream.
type stream struct {
	grpc.ServerStream

	ctx  context.Context
	pass pass
}

// Context implements [grpc.ServerStream].
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg implements [grpc.ServerStream].
func (s *stream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err //nolint:wrapcheck // gRPC's, also io.EOF
	}
	return s.pass.check(s.ctx, m)
}

type callerKey struct{}

// Caller says who makes a call that a gate let through, for logs: the name of a
// key or of a certificate; "" if nobody had to say.
func Caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}

// pass is the permission to make one call.
type pass struct {
	gate   *Gate
	method string
	rule   Rule
	key    Key // zero for a caller without limits
	caller string
}

// admit decides about a call before its first request is read.
func (g *Gate) admit(ctx context.Context, method string) (pass, error) {
	rule, _ := g.rules.of(method)
	p := pass{gate: g, method: method, rule: rule}
	name, certified := certificate(ctx)
	switch {
	case certified:
		p.caller = "certificate " + name
		return p, nil
	case rule.Scope == Anyone:
		return p, nil
	case rule.Scope == Mesh && g.tls:
		return p, g.refuse(ctx, refusal.NotMesh, p, codes.Unauthenticated, "this call is for services of the fleet: it needs a client certificate")
	case rule.Scope == Mesh, g.keys.Len() == 0 && !g.tls:
		return p, nil
	}
	sent, ok := bearer(ctx)
	if !ok {
		return p, g.refuse(ctx, refusal.NoKey, p, codes.Unauthenticated, "an API key is needed: send metadata authorization: Bearer KEY")
	}
	key, known := g.keys.find(sent)
	if !known {
		return p, g.refuse(ctx, refusal.UnknownKey, p, codes.Unauthenticated, "the API key is not known here")
	}
	p.key, p.caller = key, "key "+key.Name
	if !key.may(rule.Scope) {
		return p, g.refuse(ctx, refusal.Scope, p, codes.PermissionDenied, "API key "+key.Name+" lacks the scope "+string(rule.Scope))
	}
	return p, nil
}

// check decides about one request.
func (p pass) check(ctx context.Context, request any) error {
	if len(p.key.Topics) == 0 || p.rule.Scope == AnyKey {
		return nil
	}
	var topics []string
	if p.rule.Topics != nil {
		topics = p.rule.Topics(request)
	}
	if len(topics) == 0 {
		return p.gate.refuse(ctx, refusal.Topic, p, codes.PermissionDenied, "API key "+p.key.Name+" is for some topics, and this call names none")
	}
	for _, topic := range topics {
		if !p.key.covers(topic) {
			return p.gate.refuse(ctx, refusal.Topic, p, codes.PermissionDenied, "API key "+p.key.Name+" is not for every topic that this call names")
		}
	}
	return nil
}

func (g *Gate) refuse(ctx context.Context, reason refusal.Reason, p pass, code codes.Code, text string) error {
	g.refusals.Add(ctx, reason, address(ctx), "call refused", "method", p.method, "caller", p.caller, "error", text)
	return status.Error(code, text)
}

// certificate returns the name in the certificate that the caller proved to hold.
func certificate(ctx context.Context) (name string, ok bool) {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return "", false
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return "", false
	}
	return info.State.VerifiedChains[0][0].Subject.CommonName, true
}

func address(ctx context.Context) string {
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		return from.Addr.String()
	}
	return "unknown"
}

const header = "authorization"

// bearer returns the key that the caller sent.
func bearer(ctx context.Context) (string, bool) {
	for _, value := range metadata.ValueFromIncomingContext(ctx, header) {
		scheme, key, ok := strings.Cut(value, " ")
		if ok && strings.EqualFold(scheme, "bearer") {
			return strings.TrimSpace(key), true
		}
	}
	return "", false
}
