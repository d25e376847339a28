package seeds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// file reads addresses from a file, which may be replaced at any time.
type file struct{ path string }

func parseFile(path string) (file, error) {
	if path == "" {
		return file{}, errors.New("the path of a file is missing")
	}
	return file{path}, nil
}

// Addresses implements [Strategy].
func (f file) Addresses(context.Context) ([]string, error) {
	opened, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer opened.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(opened, maxText+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxText:
		return nil, errTooLong
	}
	return parseLines(string(text))
}

// notify implements [notifier]. It watches the folder: the file itself may be
// replaced by another, and Kubernetes replaces a folder that ..data leads to.
func (f file) notify(ctx context.Context, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer watcher.Close() //nolint:errcheck // nothing is written
	folder, name := filepath.Split(f.path)
	if err := watcher.Add(filepath.Clean(folder)); err != nil {
		return fmt.Errorf("watch folder %s: %w", folder, err)
	}
	changed() // it may have been between the last look and now
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-watcher.Events:
			if base := filepath.Base(e.Name); base == name || strings.HasPrefix(base, "..") {
				changed()
			}
		case err := <-watcher.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch folder %s: %w", folder, err)
			}
			changed() // some were lost
		}
	}
}
