//go:build e2e

package compose

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// image collects files of this machine, at the paths they have here, for an
// image that stands in for one of a registry.
type image struct {
	t     *testing.T
	tar   *tar.Writer
	added map[string]bool
}

// importImage makes an image of what fill collects. Each change is a line of a
// Dockerfile, such as "USER nobody".
func (e *engine) importImage(t *testing.T, name string, changes []string, fill func(image)) {
	t.Helper()
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/docker", append(args, "-", name)...)
	cmd.Env, cmd.Stderr = e.env, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	i := image{t, tar.NewWriter(in), map[string]bool{}}
	fill(i)
	if err := i.tar.Close(); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("import %s: %v", name, err)
	}
}

// text adds a file that is not on this machine.
func (i image) text(path, content string) {
	i.header(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644, Size: int64(len(content))})
	if _, err := io.WriteString(i.tar, content); err != nil {
		i.t.Fatal(err)
	}
}

func (i image) header(h *tar.Header) {
	if err := i.tar.WriteHeader(h); err != nil {
		i.t.Fatal(err)
	}
}

// file adds a file with what it contains, also if it is a link here.
func (i image) file(path string) {
	if i.added[path] {
		return
	}
	i.added[path] = true
	f, err := os.Open(path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		i.t.Fatal(err)
	}
	i.header(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: int64(info.Mode().Perm()), Size: info.Size()})
	if _, err := io.Copy(i.tar, f); err != nil {
		i.t.Fatal(err)
	}
}

var library = regexp.MustCompile(`/[^ ]+\.so[^ ]*`)

// program adds a program and the libraries that it is linked with.
func (i image) program(name string) {
	path, err := exec.LookPath(name)
	if err != nil {
		i.t.Fatalf("%v: .ci/deps installs what the tests need", err)
	}
	i.file(path)
	out, err := exec.CommandContext(i.t.Context(), "ldd", path).Output()
	if err != nil {
		return // a static program
	}
	for _, lib := range library.FindAllString(string(out), -1) {
		i.file(lib)
	}
}

// folder adds all files below a folder, which then is at another path.
func (i image) folder(from, to string) {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(to+strings.TrimPrefix(path, from), "/")
		i.header(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: int64(len(text))})
		_, err = i.tar.Write(text)
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// importHAProxy stands in for the image haproxy.
func (e *engine) importHAProxy(t *testing.T) {
	t.Helper()
	e.importImage(t, "skein-test-haproxy:local", []string{"USER 99:99", "ENV PATH=/usr/sbin:/usr/bin:/bin"}, func(i image) {
		i.program("/usr/sbin/haproxy")
		i.text("/etc/passwd", "haproxy:x:99:99::/:/bin/false\n")
		i.text("/etc/group", "haproxy:x:99:\n")
	})
}

// importGo stands in for the image golang, with the toolchain of this machine.
func (e *engine) importGo(t *testing.T) {
	t.Helper()
	setting := func(name string) string {
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	changes := []string{"ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOPATH=/go GOTOOLCHAIN=local HOME=/root"}
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		if value := setting(name); value != "" {
			changes = append(changes, "ENV "+name+"="+value)
		}
	}
	e.importImage(t, "golang:1.26-bookworm", changes, func(i image) {
		for _, program := range []string{"/bin/sh", "/bin/mkdir", "/bin/cp"} {
			i.program(program)
		}
		i.file("/etc/ssl/certs/ca-certificates.crt")
		i.text("/tmp/.keep", "")
		goroot := setting("GOROOT")
		for _, part := range []string{"bin", "pkg", "src"} {
			i.folder(filepath.Join(goroot, part), "/usr/local/go/"+part)
		}
		i.copy(filepath.Join(goroot, "VERSION"), "/usr/local/go/VERSION")
		i.copy(filepath.Join(goroot, "go.env"), "/usr/local/go/go.env")
	})
}

// copy adds a text file at another path.
func (i image) copy(from, to string) {
	text, err := os.ReadFile(from)
	if err != nil {
		i.t.Fatal(err)
	}
	i.text(to, string(text))
}
