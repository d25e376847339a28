package seeds

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
)

// patience is how long a test waits for what comes at once unless the machine is
// busy.
const patience = 30 * time.Second

// eventually waits for the watcher to say what is wanted.
func eventually(t *testing.T, w *Watcher, want ...string) {
	t.Helper()
	for deadline := time.After(patience); !slices.Equal(w.Addresses(), want); {
		select {
		case <-w.Changed():
		case <-deadline:
			t.Fatalf("got %q, want %q", w.Addresses(), want)
		}
	}
}

// logged waits for a line of the log.
func logged(t *testing.T, log *logtest.Buffer, part string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); log.Count(part) == 0; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q was never logged", part)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The interval is an hour, so whatever is noticed is noticed by the change.
func TestFileIsWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seeds")
	write(t, path, "a:1\n# b:1\n")
	w, log := watch(t, Options{Interval: time.Hour}, file{path})
	eventually(t, w, "a:1")

	write(t, path, "a:1\nb:1\n") // in place
	eventually(t, w, "a:1", "b:1")

	write(t, path+".new", "c:1\n") // replaced at once
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	eventually(t, w, "c:1")

	write(t, path, "d:1\ne") // half of it
	logged(t, log, "reason=malformed")
	eventually(t, w, "c:1")
	write(t, path, "d:1\ne:1\n")
	eventually(t, w, "d:1", "e:1")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	logged(t, log, "reason=not_found")
	eventually(t, w, "d:1", "e:1")
	write(t, path, "")
	logged(t, log, "reason=empty")
	eventually(t, w, "d:1", "e:1")
	write(t, path, "f:1")
	eventually(t, w, "f:1")
}

// Kubernetes shows a ConfigMap as a link through a folder that it replaces.
func TestFileOfAConfigMapIsWatched(t *testing.T) {
	folder := t.TempDir()
	link := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, version, "seeds"), text)
		if err := os.Symlink(version, filepath.Join(folder, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "a:1")
	path := filepath.Join(folder, "seeds")
	if err := os.Symlink(filepath.Join("..data", "seeds"), path); err != nil {
		t.Fatal(err)
	}
	w, _ := watch(t, Options{Interval: time.Hour}, file{path})
	eventually(t, w, "a:1")
	link("..2", "b:1")
	eventually(t, w, "b:1")
}

// Where nothing can be watched the file is read each interval.
func TestFileInAFolderThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "seeds")
	w, log := watch(t, Options{Interval: MinInterval}, file{path})
	logged(t, log, "found by asking only")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "a:1")
	eventually(t, w, "a:1")
}

func TestFileRefuses(t *testing.T) {
	folder := t.TempDir()
	long := filepath.Join(folder, "long")
	write(t, long, strings.Repeat("a:1\n", maxText/4+1))
	for path, want := range map[string]reason{
		long:                          malformed,
		filepath.Join(folder, "gone"): notFound,
		folder:                        other,
	} {
		if addresses, err := (file{path}).Addresses(t.Context()); classify(err) != want {
			t.Errorf("%s: %q, %v", path, addresses, err)
		}
	}
}
