package token

import (
	"bytes"
	_ "crypto/sha256" // package jwt looks its hashes up by name
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/skein-mesh/skein/pkg/grant"
)

// outcome is what became of a token. It is the closed set of the attribute
// "reason" of skein.token.verifications.
type outcome int

const (
	accepted     outcome = iota
	tooLong              // over the limit, not looked at
	malformed            // not a signed JWT, or one with critical headers
	badAlgorithm         // "none", or one that is not supported
	unknownKey           // no key has its id, or none fits its algorithm
	badSignature
	expired
	notYet       // nbf or iat are to come
	wrongParty   // iss or aud are not ours
	badClaims    // claims of the wrong shape, or one that must be there is missing
	undecided    // the key could not be looked up now
	outcomeCount // how many there are
)

// String is the value of the metric's attribute.
func (o outcome) String() string {
	return [outcomeCount]string{
		"accepted", "too_long", "malformed", "bad_algorithm", "unknown_key", "bad_signature",
		"expired", "not_yet", "wrong_party", "bad_claims", "undecided",
	}[o]
}

// sentinel is the error of package grant that clients see.
func (o outcome) sentinel() error {
	switch o {
	case expired:
		return grant.ErrExpired
	case undecided:
		return grant.ErrUnavailable
	default:
		return grant.ErrInvalid
	}
}

// verdict is an outcome with its detail, which is for logs only.
type verdict struct {
	outcome outcome
	grant   *grant.Grant
	detail  error
}

func refused(o outcome, format string, args ...any) verdict {
	return verdict{outcome: o, detail: fmt.Errorf(format, args...)}
}

// err is what [Verifier.Verify] reports.
func (v verdict) err() error {
	switch {
	case v.outcome == accepted:
		return nil
	case errors.Is(v.detail, v.outcome.sentinel()):
		return v.detail
	}
	return fmt.Errorf("%w: %w", v.outcome.sentinel(), v.detail)
}

// Times that a check may take.
const (
	atOnce  = 500 * time.Microsecond // where others wait for it
	anyTime = time.Duration(math.MaxInt64)
)

// rules check tokens with the keys they are given. They are immutable.
type rules struct {
	parser   *jwt.Parser
	leeway   time.Duration
	maxBytes int
}

func newRules(c Config) rules {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(slices.Concat(methodsHMAC(), methodsRSA(), []string{"ES256", "ES384", "ES512"}, methodsEd25519())),
		jwt.WithLeeway(c.Leeway), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if len(c.Audience) > 0 {
		options = append(options, jwt.WithAudience(c.Audience...))
	}
	if c.RequireExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	return rules{jwt.NewParser(options...), c.Leeway, c.MaxBytes}
}

// claims are the registered ones, and the text of all.
type claims struct {
	jwt.RegisteredClaims

	text []byte
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *claims) UnmarshalJSON(text []byte) error {
	c.text = bytes.Clone(text)
	return json.Unmarshal(text, &c.RegisteredClaims)
}

var (
	errCritical = errors.New("has critical headers, of which none is supported")
	errKeyID    = errors.New("key id is no text")
	errNoKey    = errors.New("no such key is known")
	errSlow     = errors.New("its check takes too long")
)

// want is what a verdict still wants to be the last word.
type want int

const (
	nothing  want = iota
	moreTime      // the check takes longer than it may
	moreKeys      // it could be good with a key that is not known
)

// check decides about a token in at most the given time, of which the estimate
// of [key] counts.
func (r rules) check(token string, keys *keySet, within time.Duration) (verdict, want) {
	if len(token) > r.maxBytes {
		return refused(tooLong, "has %d bytes, more than %d", len(token), r.maxBytes), nothing
	}
	lookup := lookup{keys: keys, within: within}
	c := &claims{}
	if _, err := r.parser.ParseWithClaims(token, c, lookup.find); errors.Is(err, errSlow) {
		return verdict{outcome: undecided, detail: err}, moreTime
	} else if err != nil {
		o := outcomeOf(err, lookup.asked)
		if (o == unknownKey || o == badSignature) && lookup.missing() {
			return verdict{outcome: o, detail: err}, moreKeys
		}
		return verdict{outcome: o, detail: err}, nothing
	}
	g, err := grant.Parse(c.text)
	if err != nil {
		return verdict{outcome: badClaims, detail: err}, nothing
	}
	if !g.Expires.IsZero() {
		g.Expires = g.Expires.Add(r.leeway) // else it might be over as soon as it is made
	}
	return verdict{outcome: accepted, grant: g}, nothing
}

// lookup finds the keys of one token.
type lookup struct {
	keys   *keySet
	within time.Duration
	asked  bool
	id     string
}

// missing reports whether the key that was looked for may exist.
func (l *lookup) missing() bool { return l.keys.partial || l.id != "" && !l.keys.ids[l.id] }

// find is a [jwt.Keyfunc].
func (l *lookup) find(t *jwt.Token) (any, error) {
	l.asked = true
	if _, critical := t.Header["crit"]; critical {
		return nil, errCritical
	}
	if header, given := t.Header["kid"]; given {
		id, text := header.(string)
		if !text {
			return nil, errKeyID
		}
		l.id = id
	}
	var set jwt.VerificationKeySet
	cost := time.Duration(0)
	for _, k := range l.keys.candidates(t.Method.Alg(), l.id) {
		set.Keys = append(set.Keys, k.material)
		cost += k.cost
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("%w: id %.100q, algorithm %s", errNoKey, l.id, t.Method.Alg())
	}
	if cost > l.within {
		return nil, errSlow
	}
	return set, nil
}

// outcomeOf tells an error of package jwt, which asked for a key or not. One that
// is expired only is told as that; whatever else is wrong comes first.
func outcomeOf(err error, asked bool) outcome {
	switch {
	case errors.Is(err, errNoKey):
		return unknownKey
	case errors.Is(err, errCritical), errors.Is(err, errKeyID), errors.Is(err, jwt.ErrTokenMalformed):
		return malformed
	case !asked:
		return badAlgorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return badSignature
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience):
		return wrongParty
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return notYet
	case errors.Is(err, jwt.ErrTokenExpired):
		return expired
	}
	return badClaims
}
