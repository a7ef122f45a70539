package optimize

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"safelight/internal/fault"
)

func TestWriteNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a/b/c.jpg")
	if err := writeNew(path, strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, strings.NewReader("two")); fault.Of(err) != fault.Conflict || !strings.Contains(err.Error(), "c.jpg is there already") {
		t.Error(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "a/b/dangling")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(filepath.Join(dir, "a/b/dangling"), strings.NewReader("two")); fault.Of(err) != fault.Conflict {
		t.Error("a link is taken for nothing:", err)
	}
	broken := errors.New("broken")
	if err := writeNew(filepath.Join(dir, "d"), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Error(err)
	}
	if got := string(read(t, path)); got != "one" {
		t.Errorf("it holds %q", got)
	}
	if got := tree(t, dir); got != "a/b/c.jpg a/b/dangling" {
		t.Error("there are", got)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	look := func(path string) os.FileInfo {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	broken := errors.New("broken")
	tests := []struct {
		name    string
		content io.Reader
		between func(path string) error // what somebody else does meanwhile
		fails   string
		want    string
	}{
		{"replaced", strings.NewReader("new"), func(string) error { return nil }, "", "new"},
		{"broken", io.MultiReader(strings.NewReader("n"), iotest.ErrReader(broken)), func(string) error { return nil }, "broken", "old"},
		{"grown meanwhile", strings.NewReader("new"), func(p string) error { return os.WriteFile(p, []byte("older"), 0o640) }, "changed meanwhile", "older"},
		{"swapped meanwhile", strings.NewReader("new"), func(p string) error {
			if err := os.WriteFile(p+"2", []byte("alt"), 0o640); err != nil {
				return err
			}
			return os.Rename(p+"2", p)
		}, "changed meanwhile", "alt"},
	}
	for _, c := range tests {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o642); err != nil {
			t.Fatal(err)
		}
		was := look(path)
		if err := c.between(path); err != nil {
			t.Fatal(err)
		}
		err := replace(path, was, c.content)
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := string(read(t, path)); got != c.want || tree(t, dir) != "f" {
			t.Errorf("%s: it holds %q, and there are %s", c.name, got, tree(t, dir))
		}
		if c.fails == "" && look(path).Mode() != 0o642 {
			t.Errorf("%s: mode %v", c.name, look(path).Mode())
		}
	}
}
