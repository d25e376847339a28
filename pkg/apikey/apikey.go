// Package apikey lets backends call the fleet with keys: each has a name, the
// scopes of what it may do and, if it is not for all, the topics it is for. Only
// hashes of keys are kept.
//
// A [Gate] checks the calls of a gRPC server. Whoever shows a certificate of the
// fleet may make every call; whoever shows a key may make those of its scopes.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Scope is what a key may do, or what a call needs.
type Scope string

// Scopes of keys. Admin holds all others.
const (
	Publish    Scope = "publish"
	Subscribe  Scope = "subscribe"
	Inspect    Scope = "inspect"
	Disconnect Scope = "disconnect"
	Admin      Scope = "admin"
)

// Needs of calls that no scope of a key is.
const (
	Anyone Scope = "anyone" // health
	AnyKey Scope = "any key"
	Mesh   Scope = "mesh" // between services: a certificate, wherever there are certificates
)

// Scopes returns the names of the scopes a key may have.
func Scopes() []string {
	return []string{string(Publish), string(Subscribe), string(Inspect), string(Disconnect), string(Admin)}
}

// Bounds of what an operator configures.
const (
	maxName = 64  // bytes; a name stands in logs and errors
	minKey  = 16  // bytes of a key in a file
	maxKey  = 512 // bytes of a key
)

// Key is one key as an operator configures it.
type Key struct {
	Name   string   `conf:"name" usage:"who holds the key, as logs and errors call it"`
	SHA256 string   `conf:"sha256" usage:"the key's SHA-256 in 64 hexadecimal digits; skein keys api makes both"`
	File   string   `conf:"file" usage:"file that holds the key itself, in place of sha256; read at the start"`
	Scopes []string `conf:"scopes" usage:"what the key may do: any of publish, subscribe, inspect, disconnect and admin, which is all of them"`
	Topics []string `conf:"topics" usage:"topics the key is for, such as lobby or room:*; empty for all. A key with topics may only make calls that name them"`
}

// List are the keys of a service.
type List struct {
	APIKeys []Key `conf:"api-keys" usage:"keys of backends, as a list of mappings; without any, every caller that gets a connection may call everything"`
}

// Validate reports everything that is wrong with l, but for what stands in files.
func (l List) Validate() error {
	var errs []error
	names := map[string]bool{}
	for i, k := range l.APIKeys {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("api-keys: key %d, %q: %w", i+1, k.Name, fmt.Errorf(format, args...)))
		}
		if k.Name == "" || len(k.Name) > maxName || strings.ContainsFunc(k.Name, func(r rune) bool { return r < '!' || r > '~' }) {
			bad("name: must be 1 to %d printable ASCII characters without spaces", maxName)
		}
		if names[k.Name] {
			bad("name: is given twice")
		}
		names[k.Name] = true
		if (k.SHA256 == "") == (k.File == "") {
			bad("give either sha256 or file")
		}
		if _, err := parseHash(k.SHA256); k.SHA256 != "" && err != nil {
			bad("sha256: %w", err)
		}
		if len(k.Scopes) == 0 {
			bad("scopes: at least one of %s is needed", strings.Join(Scopes(), ", "))
		}
		for _, scope := range k.Scopes {
			if !slices.Contains(Scopes(), scope) {
				bad("scopes: %q is none of %s", scope, strings.Join(Scopes(), ", "))
			}
		}
		if slices.Contains(k.Topics, "") {
			bad("topics: one is empty")
		}
	}
	return errors.Join(errs...)
}

// hash identifies a key. Keys are random, so that a plain hash is as hard to
// turn back as the key is to guess.
type hash [sha256.Size]byte

func hashOf(key string) hash { return sha256.Sum256([]byte(key)) }

func parseHash(text string) (hash, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return hash{}, fmt.Errorf("must be %d hexadecimal digits", 2*sha256.Size)
	}
	return hash(raw), nil
}

// Keys are the keys that a service knows. Immutable.
type Keys struct{ known map[hash]Key }

// Load reads the keys that stand in files. The list must be valid.
func Load(l List) (*Keys, error) {
	keys := &Keys{known: map[hash]Key{}}
	for _, k := range l.APIKeys {
		h, err := load(k)
		if err != nil {
			return nil, fmt.Errorf("api-keys: key %q: %w", k.Name, err)
		}
		if other, taken := keys.known[h]; taken {
			return nil, fmt.Errorf("api-keys: %q and %q are the same key", other.Name, k.Name)
		}
		keys.known[h] = k
	}
	return keys, nil
}

func load(k Key) (hash, error) {
	if k.File == "" {
		return parseHash(k.SHA256)
	}
	text, err := os.ReadFile(k.File)
	if err != nil {
		return hash{}, err //nolint:wrapcheck // it names the file
	}
	key := strings.TrimSpace(string(text))
	if len(key) < minKey || len(key) > maxKey || strings.ContainsAny(key, " \t\r\n") {
		return hash{}, fmt.Errorf("file %s must hold one key of %d to %d bytes", k.File, minKey, maxKey)
	}
	return hashOf(key), nil
}

// Len is the number of keys.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.known)
}

// Has reports whether a key is known.
func (k *Keys) Has(key string) bool {
	_, ok := k.find(key)
	return ok
}

// find looks a key up. Comparing hashes of what a caller guesses tells nothing
// of the keys, however long it takes.
func (k *Keys) find(key string) (Key, bool) {
	if k == nil || len(key) > maxKey {
		return Key{}, false
	}
	found, ok := k.known[hashOf(key)]
	return found, ok
}

// may reports whether the key has a scope.
func (k Key) may(s Scope) bool {
	return s == Anyone || s == AnyKey || slices.Contains(k.Scopes, string(s)) || s != Mesh && slices.Contains(k.Scopes, string(Admin))
}

// covers reports whether the key is for a topic, or for all topics that asked,
// ending in "*", stands for.
func (k Key) covers(asked string) bool {
	return slices.ContainsFunc(k.Topics, func(own string) bool {
		prefix, many := strings.CutSuffix(own, "*")
		return own == asked || many && strings.HasPrefix(asked, prefix)
	})
}

// Prefix is how a rule names all topics that begin with prefix.
func Prefix(prefix string) string { return prefix + "*" }

// Make returns a new random key and the hash to configure.
func Make() (key, sha string) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	key = "skein_" + base64.RawURLEncoding.EncodeToString(raw)
	h := hashOf(key)
	return key, hex.EncodeToString(h[:])
}
