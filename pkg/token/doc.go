// Package token checks the tokens of clients: JWTs signed with keys from files
// and from the URL of a JWKS.
//
// A [Verifier] never makes its caller wait for a file or the network, and never
// keeps it for long. A token whose key is known is checked at once, on the
// caller's goroutine, if that takes some hundred microseconds at most: with HS,
// RS, PS, ES256 and EdDSA, 8 to 100 for each key that is tried. ES384 and ES512
// take milliseconds; a few goroutines do that, behind a bounded queue. A token
// with a key id that nobody has seen waits, in a bounded list, until the JWKS was
// fetched again; fetches are at least [MinRefetch] apart, and such tokens that
// come sooner are refused. Run does all reading and fetching.
//
// Each key verifies the algorithms of its own kind only, so that a public key
// is never taken for a secret, and "none" is no algorithm. This package is the
// only importer of the JWT libraries.
package token
