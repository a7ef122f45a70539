package adopt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/cdkblob"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/client"
	"safelight/internal/objectblob"
)

func digestOf(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

// TestPass takes in a tree with everything that can be in one.
func TestPass(t *testing.T) {
	t.Parallel()
	b, dir, outside := serve(t), t.TempDir(), t.TempDir()
	write(t, outside, "secret.jpg", picture(99))
	write(t, dir, "a.jpg", picture(1))
	write(t, dir, "deep/er/ä b+%.jpeg", picture(2))
	write(t, dir, "no-ending", picture(3))
	write(t, dir, "notes.txt", []byte("text"))
	write(t, dir, "broken.jpg", []byte("text"))
	write(t, dir, "empty.png", nil)
	write(t, dir, "cut.jpg", picture(4)[:300])
	write(t, dir, `back\slash.jpg`, picture(5))
	write(t, dir, "bad\xff.jpg", picture(5))
	write(t, dir, "de\u0301compose\u0301.jpg", picture(6))
	write(t, dir, "d\u00e9compos\u00e9.jpg", picture(7))
	check(t, os.Symlink("a.jpg", filepath.Join(dir, "link.jpg")))
	check(t, os.Symlink(filepath.Join(outside, "secret.jpg"), filepath.Join(dir, "out.jpg")))
	check(t, os.Symlink(outside, filepath.Join(dir, "outdir")))
	check(t, os.Symlink(".", filepath.Join(dir, "circle")))
	check(t, unix.Mkfifo(filepath.Join(dir, "pipe.jpg"), 0o600))
	var show shown
	check(t, b.adopt(t, dir, Config{Prefix: "shop/"}, &show).Pass(t.Context()))
	for name, expected := range map[string]struct {
		state  State
		reason string
	}{
		"a.jpg": {Stored, ""}, "deep/er/ä b+%.jpeg": {Stored, ""}, "no-ending": {Stored, ""}, "link.jpg": {Stored, ""},
		"notes.txt": {Skipped, "no picture"}, "broken.jpg": {Failed, "named like a picture"}, "empty.png": {Failed, "empty"},
		"cut.jpg": {Failed, ""}, `back\slash.jpg`: {Failed, "not allowed"}, "bad\xff.jpg": {Failed, "not UTF-8"},
		"out.jpg": {Skipped, "out of the tree"}, "outdir": {Skipped, "out of the tree"}, "circle": {Skipped, "link to a directory"},
		"pipe.jpg": {Skipped, "a pipe"},
	} {
		r, ok := show.all[name]
		if !ok || r.State != expected.state || !strings.Contains(r.Reason, expected.reason) || (r.Reason == "") != (r.State == Stored) {
			t.Errorf("%q: %+v, expected %+v", name, r, expected)
		}
	}
	composed, decomposed := show.all["d\u00e9compos\u00e9.jpg"], show.all["de\u0301compose\u0301.jpg"]
	if composed.State == decomposed.State || composed.State != Stored && decomposed.State != Stored {
		t.Errorf("of two names that are one key there are %+v and %+v", composed, decomposed)
	}
	if show.sum.Files != 16 || show.files != 16 || show.sum.States[Stored] != 5 {
		t.Errorf("%+v of %d", show.sum, show.files)
	}
	got := b.images(t)
	if len(got) != 5 || got["shop/deep/er/ä b+%.jpeg"] != digestOf(picture(2)) || got["shop/link.jpg"] != digestOf(picture(1)) {
		t.Errorf("the server has %v", got)
	}
}

// TestAgain repeats a pass: nothing is sent twice or read without need, and what
// has changed is a conflict unless it is to replace.
func TestAgain(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	pictures(t, dir, 10)
	config := Config{Memory: filepath.Join(t.TempDir(), "a/b/memory")}
	again := func(c Config) map[State]int {
		t.Helper()
		var show shown
		a := b.adopt(t, dir, c, &show)
		check(t, a.Pass(t.Context()))
		check(t, a.Close())
		return show.sum.States
	}
	want := func(got map[State]int, expected map[State]int) {
		t.Helper()
		for _, s := range []State{Stored, Replaced, Present, Conflict, Failed} {
			if got[s] != expected[s] {
				t.Errorf("%v, expected %v", got, expected)
				return
			}
		}
	}
	want(again(config), map[State]int{Stored: 10})
	write(t, dir, "0/0.jpg", make([]byte, len(picture(0)))) // as large and old as it was: it is not read
	want(again(config), map[State]int{Present: 10})
	if b.puts.Load() != 10 {
		t.Errorf("%d files were sent, expected 10", b.puts.Load())
	}
	want(again(Config{}), map[State]int{Present: 9, Failed: 1}) // without a memory it is
	write(t, dir, "0/0.jpg", picture(0))
	check(t, os.WriteFile(filepath.Join(dir, "1/1.jpg"), picture(1000), 0o644))
	check(t, os.Truncate(config.Memory, 700)) // in the middle of a line
	want(again(config), map[State]int{Present: 9, Conflict: 1})
	if b.images(t)["1/1.jpg"] != digestOf(picture(1)) {
		t.Error("a conflict has replaced an image")
	}
	config.Replace = true
	want(again(config), map[State]int{Present: 9, Replaced: 1})
	if b.images(t)["1/1.jpg"] != digestOf(picture(1000)) {
		t.Error("an image was not replaced")
	}
}

// TestInterrupted ends a pass in its middle, and begins again.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	pictures(t, dir, 30)
	ctx, cancel := context.WithCancel(t.Context())
	first := shown{each: func(Result) { cancel() }}
	if err := b.adopt(t, dir, Config{}, &first).Pass(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	was := len(b.images(t))
	if was == 0 || was == 30 {
		t.Fatalf("%d files were in when it was interrupted", was)
	}
	before := b.puts.Load()
	var second shown
	check(t, b.adopt(t, dir, Config{}, &second).Pass(t.Context()))
	if second.sum.States[Stored]+second.sum.States[Present] != 30 || len(b.images(t)) != 30 || int(b.puts.Load()-before) != 30-second.sum.States[Present] {
		t.Errorf("%v after %d; %d images", second.sum.States, was, len(b.images(t)))
	}
}

// TestServerFails loses answers, refuses now and then, and goes away.
func TestServerFails(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	pictures(t, dir, 9)
	b.meddling(func(n int32, w http.ResponseWriter) (bool, bool) {
		switch n {
		case 2:
			return true, false // it is stored, and nobody knows
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			return false, true
		}
		return true, true
	})
	var show shown
	check(t, b.adopt(t, dir, Config{}, &show).Pass(t.Context()))
	if show.sum.States[Stored] != 9 || len(b.images(t)) != 9 {
		t.Errorf("%v; %d images", show.sum.States, len(b.images(t)))
	}
	pictures(t, dir, 12)
	b.meddling(func(int32, http.ResponseWriter) (bool, bool) { panic(http.ErrAbortHandler) })
	show = shown{}
	check(t, b.adopt(t, dir, Config{}, &show).Pass(t.Context()))
	if show.sum.States[Failed] != 3 || show.sum.States[Present] != 9 { // it breaks off single requests
		t.Errorf("%v", show.sum.States)
	}
	b.meddling(func(int32, http.ResponseWriter) (bool, bool) { b.down.Store(true); panic(http.ErrAbortHandler) })
	if err := b.adopt(t, dir, Config{}, &show).Pass(t.Context()); !client.Unreachable(err) {
		t.Errorf("without a server: %v", err)
	}
	b.down.Store(false)
	b.meddling(func(_ int32, w http.ResponseWriter) (bool, bool) {
		w.WriteHeader(http.StatusForbidden)
		return false, true
	})
	if err := b.adopt(t, dir, Config{}, &show).Pass(t.Context()); client.Status(err) != http.StatusForbidden {
		t.Errorf("without a right: %v", err)
	}
}

// TestMeanwhile has somebody else store under a key after the keys were listed.
func TestMeanwhile(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	write(t, dir, "x.jpg", picture(1))
	other := picture(2)
	once := false
	b.meddling(func(int32, http.ResponseWriter) (bool, bool) {
		if !once {
			once = true
			_, err := b.client.Put(t.Context(), client.File{Key: "x.jpg", Body: strings.NewReader(string(other)), Bytes: int64(len(other)), SHA256: sha256.Sum256(other)})
			if err != nil {
				t.Error(err)
			}
		}
		return true, true
	})
	var show shown
	check(t, b.adopt(t, dir, Config{}, &show).Pass(t.Context()))
	if show.all["x.jpg"].State != Conflict || b.images(t)["x.jpg"] != digestOf(other) {
		t.Errorf("%+v", show.all)
	}
}

// TestBucket takes in a bucket's prefix.
func TestBucket(t *testing.T) {
	s3 := s3test.Start(t)
	s3test.SetEnv(t)
	address := s3.Bucket("pictures", "below")
	store, err := cdkblob.Open(t.Context(), cdkblob.Options{URL: address, Config: objectblob.DefaultConfig(), Spool: t.TempDir()})
	check(t, err)
	defer store.Close()
	for name, content := range map[string][]byte{"a.jpg": picture(1), "b/ü.jpg": picture(2), "c.txt": []byte("text"), "d.jpg": []byte("x")} {
		w, err := store.Create(t.Context())
		check(t, err)
		_, err = w.Write(content)
		check(t, err)
		check(t, w.Commit(t.Context(), name))
	}
	b := serve(t)
	var show shown
	check(t, b.adopt(t, address, Config{Prefix: "old"}, &show).Pass(t.Context()))
	got := b.images(t)
	if len(got) != 2 || got["old/a.jpg"] != digestOf(picture(1)) || got["old/b/ü.jpg"] != digestOf(picture(2)) {
		t.Errorf("%v %+v", got, show.all)
	}
	if show.all["c.txt"].State != Skipped || show.all["d.jpg"].State != Failed {
		t.Errorf("%+v", show.all)
	}
	if _, err := b.adopt(t, address, Config{}, &show).newWatch(WatchConfig{}); err == nil {
		t.Error("a bucket is watched")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ root, prefix string }{
		{filepath.Join(t.TempDir(), "missing"), ""}, {"adopt.go", ""}, {t.TempDir(), "a//b"}, {t.TempDir(), `a\b`}, {"ftp://x/y", ""},
	} {
		if a, err := New(t.Context(), Config{Prefix: c.prefix}, c.root, nil, nil); err == nil {
			t.Errorf("%+v is taken", c)
			_ = a.Close()
		}
	}
}
