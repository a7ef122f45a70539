package adopt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// following runs a watch over a directory until the test ends.
func following(t *testing.T, b *bed, dir string, c Config, delete bool) (w *watch, show *shown, stop func() error) {
	t.Helper()
	show = &shown{}
	ready := make(chan struct{})
	w, err := b.adopt(t, dir, c, show).newWatch(WatchConfig{Delete: delete, Settle: 20 * time.Millisecond, Following: func() { close(ready) }})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case <-ready:
	case err := <-ended:
		stopped = true
		t.Fatalf("the watch ended with %v", err)
	}
	return w, show, stop
}

// until waits for the server to have exactly these pictures, by key.
func until(t *testing.T, b *bed, expected map[string]int) {
	t.Helper()
	var got map[string]string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		got = b.images(t)
		same := len(got) == len(expected)
		for key, n := range expected {
			same = same && got[key] == digestOf(picture(n))
		}
		if same {
			return
		}
	}
	t.Fatalf("the server has %v, expected the pictures %v", got, expected)
}

func put(t *testing.T, dir, name string, n int) {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, picture(n), 0o644))
}

// TestWatch follows a tree through everything that can happen to it.
func TestWatch(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	put(t, dir, "a.jpg", 1)
	put(t, dir, "old/b.jpg", 2)
	_, _, stop := following(t, b, dir, Config{}, true)
	rename := func(from, to string) {
		t.Helper()
		check(t, os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)))
	}
	until(t, b, map[string]int{"a.jpg": 1, "old/b.jpg": 2})
	put(t, dir, "c.jpg", 3)
	put(t, dir, "a.jpg", 10) // replaces
	put(t, dir, "new/er/est/d.jpg", 4)
	put(t, dir, "notes.txt", 5)
	rename("notes.txt", "e.jpg") // as editors and uploads do
	until(t, b, map[string]int{"a.jpg": 10, "old/b.jpg": 2, "c.jpg": 3, "new/er/est/d.jpg": 4, "e.jpg": 5})
	check(t, os.Remove(filepath.Join(dir, "c.jpg")))
	rename("new", "renamed")
	until(t, b, map[string]int{"a.jpg": 10, "old/b.jpg": 2, "renamed/er/est/d.jpg": 4, "e.jpg": 5})
	put(t, dir, "renamed/er/est/f.jpg", 6) // directories are watched under their new names
	put(t, dir, "new/er/est/g.jpg", 7)     // and others under the old ones
	put(t, dir, "renamed/h.jpg", 8)
	until(t, b, map[string]int{"a.jpg": 10, "old/b.jpg": 2, "renamed/er/est/d.jpg": 4, "e.jpg": 5, "renamed/er/est/f.jpg": 6, "new/er/est/g.jpg": 7, "renamed/h.jpg": 8})
	put(t, dir, "renamed/er/est/f.jpg", 60)
	put(t, dir, "new/er/est/g.jpg", 70)
	check(t, os.RemoveAll(filepath.Join(dir, "old")))
	rename("e.jpg", "../e.jpg")
	until(t, b, map[string]int{"a.jpg": 10, "renamed/er/est/d.jpg": 4, "renamed/er/est/f.jpg": 60, "new/er/est/g.jpg": 70, "renamed/h.jpg": 8})
	outside := filepath.Join(filepath.Dir(dir), "away")
	check(t, os.Rename(filepath.Join(dir, "renamed"), outside)) // out of the tree, with all that is in it
	until(t, b, map[string]int{"a.jpg": 10, "new/er/est/g.jpg": 70})
	check(t, os.Rename(outside, filepath.Join(dir, "back")))
	until(t, b, map[string]int{"a.jpg": 10, "new/er/est/g.jpg": 70, "back/er/est/d.jpg": 4, "back/er/est/f.jpg": 60, "back/h.jpg": 8})
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestWatchKeeps deletes files without Delete, and what others have stored with
// it.
func TestWatchKeeps(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	put(t, dir, "a.jpg", 1)
	_, _, stop := following(t, b, dir, Config{}, false)
	check(t, os.Remove(filepath.Join(dir, "a.jpg")))
	put(t, dir, "b.jpg", 2) // later than what was removed
	until(t, b, map[string]int{"a.jpg": 1, "b.jpg": 2})
	_ = stop()
	_, show, _ := following(t, b, dir, Config{}, true)
	other := t.TempDir()
	put(t, other, "b.jpg", 20)
	check(t, b.adopt(t, other, Config{Replace: true}, &shown{}).Pass(t.Context()))
	check(t, os.Remove(filepath.Join(dir, "b.jpg")))
	put(t, dir, "c.jpg", 3)
	until(t, b, map[string]int{"a.jpg": 1, "b.jpg": 20, "c.jpg": 3})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		show.mu.Lock()
		state := show.all["b.jpg"].State
		show.mu.Unlock()
		if state == Conflict {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the deleted file is %s", state)
		}
	}
}

// TestWatchKeepsOthers deletes files that were never taken in: the images under
// their keys are somebody else's.
func TestWatchKeepsOthers(t *testing.T) {
	t.Parallel()
	b, dir, other := serve(t), t.TempDir(), t.TempDir()
	put(t, other, "conflict.jpg", 10)
	put(t, other, "sub/conflict.jpg", 11)
	check(t, b.adopt(t, other, Config{}, &shown{}).Pass(t.Context()))
	put(t, dir, "conflict.jpg", 1)
	put(t, dir, "sub/conflict.jpg", 1)
	check(t, os.WriteFile(filepath.Join(dir, "broken.jpg"), []byte("no picture"), 0o644))
	put(t, dir, "ours.jpg", 2)
	w, show, _ := following(t, b, dir, Config{}, true)
	until(t, b, map[string]int{"conflict.jpg": 10, "sub/conflict.jpg": 11, "ours.jpg": 2})
	put(t, other, "broken.jpg", 12)
	check(t, b.adopt(t, other, Config{}, &shown{}).Pass(t.Context()))
	if show.all["conflict.jpg"].State != Conflict || show.all["broken.jpg"].State != Failed {
		t.Fatalf("the files are %+v", show.all)
	}
	for _, name := range []string{"conflict.jpg", "broken.jpg", "sub/conflict.jpg", "ours.jpg"} {
		check(t, os.Remove(filepath.Join(dir, name)))
		w.saw(name) // the kernel may have told of it already
		check(t, w.gone(t.Context(), name))
	}
	until(t, b, map[string]int{"conflict.jpg": 10, "sub/conflict.jpg": 11, "broken.jpg": 12})
}

// TestWatchOverflow misses events, and looks at everything.
func TestWatchOverflow(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	put(t, dir, "a.jpg", 1)
	put(t, dir, "b.jpg", 2)
	w, _, _ := following(t, b, dir, Config{}, true)
	check(t, w.kernel.Remove(dir)) // nothing is told from here on
	put(t, dir, "a.jpg", 10)
	put(t, dir, "sub/c.jpg", 3)
	check(t, os.Remove(filepath.Join(dir, "b.jpg")))
	w.everythingIsDue()
	until(t, b, map[string]int{"a.jpg": 10, "sub/c.jpg": 3})
	put(t, dir, "sub/d.jpg", 4) // watched again
	until(t, b, map[string]int{"a.jpg": 10, "sub/c.jpg": 3, "sub/d.jpg": 4})
}

// TestWatchStarts finds files that have changed while nobody watched.
func TestWatchStarts(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	config := Config{Memory: filepath.Join(t.TempDir(), "memory")}
	put(t, dir, "a.jpg", 1)
	put(t, dir, "b.jpg", 2)
	a := b.adopt(t, dir, config, &shown{})
	check(t, a.Pass(t.Context()))
	check(t, a.Close())
	other := t.TempDir()
	put(t, other, "b.jpg", 20)
	check(t, b.adopt(t, other, Config{Replace: true}, &shown{}).Pass(t.Context()))
	put(t, dir, "a.jpg", 10)
	_, show, _ := following(t, b, dir, config, false)
	until(t, b, map[string]int{"a.jpg": 10, "b.jpg": 20})
	if show.all["b.jpg"].State != Conflict {
		t.Errorf("what somebody else has stored is %+v", show.all["b.jpg"])
	}
}

// TestWatchMany makes many files and directories at once.
func TestWatchMany(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	following(t, b, dir, Config{}, true)
	expected := map[string]int{}
	for i := range 120 {
		name := fmt.Sprintf("%d/%d/%d.jpg", i%5, i%7, i)
		put(t, dir, name, i)
		expected[name] = i
	}
	until(t, b, expected)
}

// TestWatchRootGone ends when the directory goes, and deletes nothing.
func TestWatchRootGone(t *testing.T) {
	t.Parallel()
	b, parent := serve(t), t.TempDir()
	dir := filepath.Join(parent, "root")
	put(t, dir, "a.jpg", 1)
	show := &shown{}
	ready := make(chan struct{})
	w, err := b.adopt(t, dir, Config{}, show).newWatch(WatchConfig{Delete: true, Settle: 20 * time.Millisecond, Following: func() { close(ready) }})
	check(t, err)
	ended := make(chan error, 1)
	go func() { ended <- w.run(t.Context()) }()
	<-ready
	check(t, os.Rename(dir, dir+"-away"))
	if err := <-ended; err == nil {
		t.Error("it ended without a reason")
	}
	until(t, b, map[string]int{"a.jpg": 1})
}

// TestWatchServerAway changes files while the server is away.
func TestWatchServerAway(t *testing.T) {
	t.Parallel()
	b, dir := serve(t), t.TempDir()
	put(t, dir, "a.jpg", 1)
	asked := make(chan struct{}, 1000)
	b.turnedAway.Store(&asked)
	following(t, b, dir, Config{}, true)
	b.down.Store(true)
	put(t, dir, "b.jpg", 2)
	check(t, os.Remove(filepath.Join(dir, "a.jpg")))
	for range tries + 2 { // more often than a pass tries
		<-asked
	}
	b.down.Store(false)
	until(t, b, map[string]int{"b.jpg": 2})
}
