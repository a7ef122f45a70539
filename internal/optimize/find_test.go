package optimize

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/format"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rel      string
		from, to format.Format
		want     string
	}{
		{"photo.png", format.PNG, format.WebP, "photo.webp"},
		{"a.b/photo.JPEG", format.JPEG, format.AVIF, "a.b/photo.avif"},
		{"photo.JPG", format.JPEG, format.JPEG, "photo.JPG"},
		{"wrong.png", format.JPEG, format.JPEG, "wrong.png"},
		{"photo.tif", format.TIFF, format.JPEG, "photo.jpg"},
		{"photo", format.PNG, format.WebP, "photo.webp"},
		{"IMG.2024", format.PNG, format.WebP, "IMG.2024.webp"},
		{"shot.v2.heif", format.HEIC, format.JPEG, "shot.v2.jpg"},
		{".png", format.PNG, format.WebP, ".png.webp"},
		{"a/.jpg", format.JPEG, format.PNG, "a/.jpg.png"},
		{"x.jfif", format.JPEG, format.WebP, "x.webp"},
	}
	for _, c := range tests {
		if got := named(c.rel, c.from, c.to); got != c.want {
			t.Errorf("%s from %s to %s: %s; want %s", c.rel, c.from, c.to, got, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	photo := asJPEG(t, scene(16, 16, 255), 80)
	dir := put(t, map[string][]byte{
		"a.jpg": photo, "sub/b.txt": photo, "sub/deep/c": asPNG(t, scene(8, 8, 255)),
		"text.jpg": []byte("just text"), "empty.png": nil, "vector.svg": []byte("<svg/>"),
		tempPrefix + "X.tmp": photo, "out/done.jpg": photo, "bare/readme": []byte("x"), "elsewhere/d.gif": movie(t),
	})
	for from, to := range map[string]string{"link.jpg": "a.jpg", "loop": "."} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, fifo := range []string{"pipe", "sub/pipe.jpg"} {
		if err := unix.Mkfifo(filepath.Join(dir, fifo), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, paths string
		out         string
		found       string // names under their directories
		failed      string // name and part of the reason
	}{
		{"directory", ".", "out", "a.jpg elsewhere/d.gif sub/b.txt sub/deep/c", ""},
		{"without results in it", ".", "", "a.jpg elsewhere/d.gif out/done.jpg sub/b.txt sub/deep/c", ""},
		{"results in itself", "out", "out", "done.jpg", ""},
		{"twice", "sub sub/b.txt sub/../sub/b.txt", "", "b.txt deep/c", ""},
		{"file, link to it", "a.jpg link.jpg", "", "a.jpg link.jpg", ""},
		{"link to a directory", "loop", "out", "a.jpg elsewhere/d.gif sub/b.txt sub/deep/c", ""},
		{"none in it", "bare", "", "", "bare: there are no pictures in this directory"},
		{"no picture", "text.jpg", "", "", "text.jpg: it is not a picture of a format that is read (jpeg, png,"},
		{"empty", "empty.png a.jpg", "", "a.jpg", "empty.png: it is not a picture"},
		{"missing", "nope.jpg", "", "", "nope.jpg: no such file or directory"},
		{"pipe", "pipe", "", "", "pipe: it is not a regular file"},
	}
	for _, c := range tests {
		var paths []string
		for p := range strings.FieldsSeq(c.paths) {
			paths = append(paths, dir+"/"+p)
		}
		out := c.out
		if out != "" {
			out = filepath.Join(dir, out)
		}
		sources, failures, err := Find(context.Background(), paths, out)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, s := range sources {
			found = append(found, s.Rel)
		}
		if got := strings.Join(found, " "); got != c.found {
			t.Errorf("%s: found %s; want %s", c.name, got, c.found)
		}
		text := ""
		for _, f := range failures {
			text += fmt.Sprintf("%s: %s", filepath.Base(f.File), f.Error)
		}
		if !strings.HasPrefix(text, c.failed) || c.failed == "" && text != "" {
			t.Errorf("%s: failed %s; want %s", c.name, text, c.failed)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Find(ctx, []string{dir}, ""); err == nil {
		t.Error("it walks on after the end")
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	t.Parallel()
	photo := asJPEG(t, scene(16, 16, 255), 80)
	dir := put(t, map[string][]byte{"a.jpg": photo, "closed.jpg": photo, "sub/b.jpg": photo})
	for _, name := range []string{"closed.jpg", "sub"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "sub"), 0o755) })
	sources, failures, err := Find(context.Background(), []string{dir}, "")
	if err != nil || len(sources) != 1 || len(failures) != 2 || failures[0].Error != "permission denied" {
		t.Errorf("%+v, %+v, %v", sources, failures, err)
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		data []byte
		is   format.Format
		want bool
	}{
		{"still", asPNG(t, scene(16, 16, 255)), format.PNG, false},
		{"animated PNG", apng(t), format.PNG, true},
		{"cut off", apng(t)[:20], format.PNG, false},
		{"chunk as long as can be", append(asPNG(t, scene(4, 4, 255))[:33], 0xff, 0xff, 0xff, 0xff, 't', 'E', 'X', 't'), format.PNG, false},
		{"sequence", []byte("\x00\x00\x00\x18ftypavis\x00\x00\x00\x00"), format.AVIF, true},
		{"avif", []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00"), format.AVIF, false},
	}
	for _, c := range tests {
		if got := moves(strings.NewReader(string(c.data)), int64(len(c.data)), c.is); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
