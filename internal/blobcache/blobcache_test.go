package blobcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, budget int64) *Cache {
	t.Helper()
	c, err := Open(Config{Dir: dir, MaxBytes: budget})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.life.Err() == nil {
			_ = c.Close()
		}
	})
	return c
}

// bytesOf are n bytes that no other name has.
func bytesOf(name string, n int) []byte {
	sum := sha256.Sum256([]byte(name))
	return bytes.Repeat(sum[:], n/len(sum)+1)[:n]
}

// gives writes bytes and counts how often.
func gives(data []byte, calls *atomic.Int32) blob.Fetch {
	return func(_ context.Context, to blob.Landing) error {
		calls.Add(1)
		_, err := to.Write(data)
		return err
	}
}

func refuses(context.Context, blob.Landing) error {
	return fault.New(fault.Unavailable, "it was fetched")
}

func read(t *testing.T, c *Cache, name string, fetch blob.Fetch) []byte {
	t.Helper()
	r, err := c.Open(t.Context(), "", name, fetch)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// has tells whether a name is kept.
func has(c *Cache, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[keyOf("", name)] != nil
}

// files are those of entries and, in tmp, those that are being fetched.
func files(t *testing.T, c *Cache) (kept, temp []string) {
	t.Helper()
	all, err := filepath.Glob(c.dir + "/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if filepath.Base(filepath.Dir(f)) == tempDir {
			temp = append(temp, f)
		} else {
			kept = append(kept, f)
		}
	}
	return kept, temp
}

// consistent checks that what is counted is what there is.
func consistent(t *testing.T, c *Cache) {
	t.Helper()
	kept, temp := files(t, c)
	sum := int64(0)
	for _, f := range kept {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	if s := c.Stats(); s.Entries != int64(len(kept)) || s.Bytes != sum || len(temp) != 0 {
		t.Errorf("%d entries with %d bytes are counted; there are %d files with %d, and %d temporary ones", s.Entries, s.Bytes, len(kept), sum, len(temp))
	}
}

func TestFetchedOnce(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 1<<20)
	var calls atomic.Int32
	data := bytesOf("a", 100_000)
	for range 3 {
		if got := read(t, c, "sources/a", gives(data, &calls)); !bytes.Equal(got, data) {
			t.Fatal("other bytes")
		}
	}
	if calls.Load() != 1 {
		t.Errorf("fetched %d times", calls.Load())
	}
	if s := c.Stats(); s.Hits != 2 || s.Misses != 1 || c.Fetched() != 100_000 {
		t.Errorf("%+v", s)
	}
	consistent(t, c)
}

// Those who ask at the same time share a fetch, also when the first to come goes
// away; when all have gone, it ends.
func TestFlight(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 1<<20)
	var calls atomic.Int32
	began, gate := make(chan struct{}), make(chan struct{})
	fetch := func(ctx context.Context, to blob.Landing) error {
		calls.Add(1)
		close(began)
		<-gate
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := io.WriteString(to, "bytes")
		return err
	}
	first, cancel := context.WithCancel(t.Context())
	var wg, left sync.WaitGroup
	left.Go(func() {
		if _, err := c.Open(first, "", "x", fetch); fault.Of(err) != fault.Canceled {
			t.Errorf("a cancelled one got %v", err)
		}
	})
	<-began
	const others = 20
	for range others {
		wg.Go(func() {
			if got := read(t, c, "x", refuses); string(got) != "bytes" {
				t.Errorf("%q", got)
			}
		})
	}
	for members(c, "x") < others+1 {
		runtime.Gosched()
	}
	cancel()
	left.Wait()
	close(gate)
	wg.Wait()
	if calls.Load() != 1 {
		t.Errorf("fetched %d times", calls.Load())
	}
	consistent(t, c)

	ended := make(chan struct{})
	alone, cancel := context.WithCancel(t.Context())
	_, err := c.Open(alone, "", "y", func(ctx context.Context, to blob.Landing) error {
		defer close(ended)
		_, _ = io.WriteString(to, "half")
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if fault.Of(err) != fault.Canceled {
		t.Error(err)
	}
	<-ended
	c.work.Wait()
	consistent(t, c)
}

func members(c *Cache, name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[keyOf("", name)]; f != nil {
		return f.members
	}
	return 0
}

// What fails leaves nothing, and is tried again by the next.
func TestFailure(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 1<<20)
	away := fault.New(fault.Unavailable, "away")
	_, err := c.Open(t.Context(), "", "x", func(_ context.Context, to blob.Landing) error {
		_, _ = io.WriteString(to, "half")
		return away
	})
	if !errors.Is(err, away) {
		t.Fatal(err)
	}
	consistent(t, c)
	got := read(t, c, "x", func(_ context.Context, to blob.Landing) error {
		_, _ = io.WriteString(to, "half")
		if err := to.Reset(); err != nil {
			return err
		}
		_, err := io.WriteString(to, "whole")
		if to.Sum() != sha256.Sum256([]byte("whole")) {
			t.Error("Sum is of other bytes")
		}
		return err
	})
	if string(got) != "whole" {
		t.Errorf("%q", got)
	}
	consistent(t, c)
}

// What was used last stays, and a reader keeps what goes.
func TestEviction(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 4<<20)
	var calls atomic.Int32
	get := func(name string) { read(t, c, name, gives(bytesOf(name, 1<<20), &calls)) }
	for _, name := range []string{"a", "b", "c"} {
		get(name)
	}
	held, err := c.Open(t.Context(), "", "b", refuses)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	get("a")
	get("c")
	get("d")
	get("e")
	if has(c, "b") || !has(c, "a") || !has(c, "c") || !has(c, "e") {
		t.Error("another went than the one that nobody had used for longest")
	}
	file, err := held.(blob.Filer).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, r := range []io.Reader{held, file} {
		if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, bytesOf("b", 1<<20)) {
			t.Errorf("a reader lost its bytes: %d, %v", len(data), err)
		}
	}
	if s := c.Stats(); s.Bytes > 4<<20 || s.Evictions != 1 {
		t.Errorf("%+v", s)
	}
	consistent(t, c)
}

// A blob that is larger than the budget is served and not kept; while one is being
// fetched, what is counted stays within the budget.
func TestBudget(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 2<<20)
	var calls atomic.Int32
	for range 2 {
		got := read(t, c, "large", func(_ context.Context, to blob.Landing) error {
			calls.Add(1)
			for i := range 5 {
				if _, err := to.Write(bytesOf(fmt.Sprint(i), 1<<20)); err != nil {
					return err
				}
				if s := c.Stats(); s.Bytes > 2<<20 {
					t.Errorf("%d bytes are held", s.Bytes)
				}
			}
			return nil
		})
		if len(got) != 5<<20 || has(c, "large") {
			t.Errorf("%d bytes", len(got))
		}
	}
	if calls.Load() != 2 {
		t.Errorf("fetched %d times", calls.Load())
	}
	c.work.Wait()
	consistent(t, c)
}

// A file system with too little room left gets it back from the cache.
func TestSpare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir, 8<<20)
	var calls atomic.Int32
	read(t, c, "a", gives(bytesOf("a", 1<<20), &calls))
	free, err := c.FreeBytes()
	if err != nil {
		t.Fatal(err)
	}
	c.spare = free + 1<<40
	if got := read(t, c, "b", gives(bytesOf("b", 1<<20), &calls)); len(got) != 1<<20 {
		t.Errorf("%d bytes", len(got))
	}
	if has(c, "a") {
		t.Error("it kept what the disk has no room for")
	}
	consistent(t, c)
}

// What an earlier process has left is used if it is whole, and otherwise fetched
// again, and nobody sees it before that is known.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir, 8<<20)
	var calls atomic.Int32
	names := []string{"whole", "torn", "changed", "empty", "gone"}
	for _, name := range names {
		read(t, c, name, gives(bytesOf(name, 10_000), &calls))
	}
	of := func(name string) string { return c.path(c.entries[name]) }
	torn, changed, empty, gone := of("torn"), of("changed"), of("empty"), of("gone")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(torn, 5000), os.Truncate(empty, 0), os.Remove(gone), os.WriteFile(changed, bytesOf("x", 10_000), 0o600),
		os.WriteFile(dir+"/tmp/left", []byte("x"), 0o600), os.WriteFile(dir+"/00/not ours", []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir, 8<<20)
	calls.Store(0)
	for _, name := range names {
		for range 2 {
			if got := read(t, c, name, gives(bytesOf(name, 10_000), &calls)); !bytes.Equal(got, bytesOf(name, 10_000)) {
				t.Errorf("%s has other bytes", name)
			}
		}
	}
	if calls.Load() != 4 {
		t.Errorf("fetched %d; want the four that were not whole", calls.Load())
	}
	if s := c.Stats(); s.Corrupt != 3 {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(dir + "/00/not ours"); err != nil {
		t.Fatal(err)
	}
	consistent(t, c)
	if _, err := Open(Config{Dir: dir, MaxBytes: 8 << 20}); fault.Of(err) != fault.Conflict {
		t.Errorf("two have one directory: %v", err)
	}
}

// A smaller budget holds from the start, and what was used last stays.
func TestRestartWithLess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir, 8<<20)
	var calls atomic.Int32
	old := time.Now().Add(-time.Hour)
	for i, name := range []string{"a", "b", "c", "d"} {
		read(t, c, name, gives(bytesOf(name, 1<<20), &calls))
		if err := os.Chtimes(c.path(c.entries[name]), old, old.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir, 2<<20)
	if has(c, "a") || has(c, "b") || !has(c, "c") || !has(c, "d") {
		t.Error("others stayed than those that were used last")
	}
	consistent(t, c)
}

func TestLostWhileOpen(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 8<<20)
	var calls atomic.Int32
	read(t, c, "a", gives(bytesOf("a", 1000), &calls))
	if err := os.Remove(c.path(c.entries["a"])); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, "a", gives(bytesOf("a", 1000), &calls)); len(got) != 1000 || calls.Load() != 2 {
		t.Errorf("%d bytes, fetched %d times", len(got), calls.Load())
	}
	consistent(t, c)
}

func TestForget(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 8<<20)
	var calls atomic.Int32
	keep := func(place, name string) {
		r, err := c.Open(t.Context(), place, name, gives([]byte(place+name), &calls))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	for _, place := range []string{"", "p", "p/q", "pp"} {
		keep(place, "a")
		keep(place, "b/c")
	}
	c.Forget("", "a")
	c.ForgetPlace("p")
	var left []string
	for key := range c.entries {
		left = append(left, key)
	}
	slices.Sort(left)
	if want := "b,c p,q,,a p,q,,b,c pp,,a pp,,b,c"; strings.Join(left, " ") != want {
		t.Errorf("left are %q; want %s", left, want)
	}
	// What is forgotten while it is fetched goes to those who wait, and is not kept.
	got := read(t, c, "x", func(_ context.Context, to blob.Landing) error {
		c.Forget("", "x")
		_, err := io.WriteString(to, "x")
		return err
	})
	if string(got) != "x" || has(c, "x") {
		t.Errorf("%q is kept", got)
	}
	c.work.Wait()
	consistent(t, c)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	long := strings.Repeat("long/", 60)
	for _, name := range []string{"a/b", "a,b", "a%2cb", "a b", "ä", "A", "a", ".", long + "a", long + "b", blob.SourceName(strings.Repeat("0", 64))} {
		for _, place := range []string{"", "a", "recalled/" + strings.Repeat("0", 64)} {
			key := keyOf(place, name)
			if other, taken := seen[key]; taken {
				t.Errorf("%q and %q have one key", other, place+" "+name)
			}
			seen[key] = place + " " + name
			if len(key)+1+64 > 255 || strings.ContainsAny(key, "/\x00") {
				t.Errorf("%q can't be in a file's name", key)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Dir: "x"}, {Dir: "x", MaxBytes: 1}, {Dir: "x", MaxBytes: 1 << 20, SpareBytes: -1}} {
		if err := c.Validate(); fault.Of(err) != fault.Invalid || err == nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Close ends what is being fetched.
func TestClose(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 1<<20)
	began, got := make(chan struct{}), make(chan error)
	go func() {
		_, err := c.Open(t.Context(), "", "x", func(ctx context.Context, _ blob.Landing) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		})
		got <- err
	}()
	<-began
	done := make(chan error)
	go func() { done <- c.Close() }()
	if err := <-got; err == nil {
		t.Error("it went on")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.Open(t.Context(), "", "y", refuses); fault.Of(err) != fault.Unavailable {
		t.Error(err)
	}
}

// Under a mixed load every reader sees whole bytes of its name, and what is
// counted stays true.
func TestLoad(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir(), 2<<20)
	var calls atomic.Int32
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("n", (i*7+w*3)%12)
				data := bytesOf(name, 100_000+len(name)*50_000)
				if (i+w)%17 == 0 {
					c.Forget("", name)
				}
				if got := read(t, c, name, gives(data, &calls)); !bytes.Equal(got, data) {
					t.Errorf("%s has other bytes", name)
				}
			}
		})
	}
	wg.Wait()
	c.work.Wait()
	consistent(t, c)
	if s := c.Stats(); s.Bytes > 2<<20 || s.Hits == 0 || s.Evictions == 0 {
		t.Errorf("%+v", s)
	}
}
