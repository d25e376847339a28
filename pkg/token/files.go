package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// file is a key file as it was read last.
type file struct {
	modified time.Time
	size     int64
	keys     []*key

	complaint string // why it could not be read since; empty if it could
}

// readFiles reads every key file and reports everything that is wrong.
func (v *Verifier) readFiles() error {
	var errs []error
	for _, path := range v.config.Keys {
		f, err := readVerifying(path, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("token-keys: %w", err))
			continue
		}
		v.files[path] = f
	}
	return errors.Join(errs...)
}

// rereadFiles reads the files that changed since. One that cannot be read keeps
// its last good keys, and is tried again each time.
func (v *Verifier) rereadFiles(ctx context.Context) {
	changed := false
	for _, path := range v.config.Keys {
		before := v.files[path]
		f, err := readVerifying(path, before)
		if err != nil {
			v.counts.fileFailures.Add(1)
			if before.complaint != err.Error() {
				before.complaint = err.Error()
				v.log.WarnContext(ctx, "a key file was not read; its last good keys are kept", "file", path, "error", err)
			}
			continue
		}
		before.complaint = ""
		if f != before {
			v.files[path], changed = f, true
			v.log.InfoContext(ctx, "a key file was read again", "file", path, "keys", len(f.keys))
		}
	}
	if changed {
		v.publish()
	}
}

// readVerifying is [readFile] for those who only verify: they should not know
// private keys.
func readVerifying(path string, before *file) (*file, error) {
	f, err := readFile(path, before)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(f.keys, (*key).asymmetricPrivate) {
		return nil, fmt.Errorf("%s: holds a private key: name the file of its public half", path)
	}
	return f, nil
}

// readFile reads the keys of a file, or returns before if it has not changed
// since.
func readFile(path string, before *file) (*file, error) {
	opened, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer opened.Close() //nolint:errcheck // only read
	info, err := opened.Stat()
	if err != nil {
		return nil, err
	}
	if before != nil && before.modified.Equal(info.ModTime()) && before.size == info.Size() {
		return before, nil
	}
	text, err := readBounded(opened)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	keys, err := readKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &file{modified: info.ModTime(), size: info.Size(), keys: keys}, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeyBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxKeyBytes)
	}
	return text, nil
}
