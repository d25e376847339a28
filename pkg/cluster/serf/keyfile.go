package serf

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/memberlist"
)

// maxKeys bounds a keyring: each key is tried on what the first ones do not
// decrypt.
const maxKeys = 8

// NewKey returns a new key as settings and files hold it: 32 random bytes in
// base64.
func NewKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// FormatKeys is the content of a file of keys, the first of which encrypts.
func FormatKeys(keys ...string) string {
	return "# Keys of gossip, one on a line: the first encrypts, all decrypt. skein keys rotate rewrites this file.\n" +
		strings.Join(keys, "\n") + "\n"
}

// decodeKey decodes one key. The error never shows it.
func decodeKey(encoded string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		err = memberlist.ValidateKey(key)
	}
	if err != nil {
		return nil, errors.New("must be 16, 24 or 32 bytes in base64")
	}
	return key, nil
}

// parseKeys reads the content of a file of keys: one on a line, and comments
// that begin with "#".
func parseKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := decodeKey(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: a key %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("it must hold 1 to %d keys, and holds %d", maxKeys, len(keys))
	}
	return keys, nil
}

func readKeys(path string) ([][]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator says where
	if err != nil {
		return nil, fmt.Errorf("gossip-key-file: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("gossip-key-file: %s: %w", path, err)
	}
	return keys, nil
}

// writeKeys replaces the file in one step: a process that is killed meanwhile
// comes back with the old keys or with the new ones.
func writeKeys(path string, keys [][]byte) (err error) {
	encoded := make([]string, len(keys))
	for i, key := range keys {
		encoded[i] = base64.StdEncoding.EncodeToString(key)
	}
	f, err := newBeside(path)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	_, err = f.WriteString(FormatKeys(encoded...))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the file of keys: %w", err)
	}
	return nil
}

// probeKeys says why the file could not be replaced, or nil.
func probeKeys(path string) error {
	f, err := newBeside(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// newBeside makes a file in the folder of another, which only its owner reads.
func newBeside(path string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return nil, fmt.Errorf("the folder of the file of keys cannot be written: %w", err)
	}
	return f, nil
}
