package blobcopy_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blobcopy"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/fault"
	"safelight/internal/faultproxy"
	"safelight/internal/sealblob"
)

func same(t *testing.T, from, to blob.Store) {
	t.Helper()
	if a, b := content(t, from), content(t, to); !maps.Equal(a, b) {
		t.Errorf("the source has %d blobs, the target %d, and they are not the same", len(a), len(b))
	}
}

// TestDirectories: all kinds arrive as they are, nothing else, and a second run
// does nothing.
func TestDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, to := disk(t, dir), disk(t, t.TempDir())
	fill(t, store, 5)
	_, digest := bodyOf(1, 10)
	for _, name := range []string{"sources/readme", "sources/00/00/" + digest, "renditions/" + strings.ToUpper(digest), "catalog.db", "cache/x", blob.SourceName(digest) + ".sealed-XYZ"} {
		put(t, store, name, []byte("x"))
	}
	put(t, to, blob.SourceName(digest), []byte("at the target"))
	from := tree(t, dir)
	r, err := run(t, from, to, nil)
	want(t, r, err, "found 20, copied 20, already 0, verified 5, unproven 5, repaired 0, vanished 0, appeared 0, others 4, extra 1, damaged 0, failed 0")
	if !r.Whole() || r.Copied.Bytes != r.Found.Bytes || r.Found.Bytes == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := to.Delete(t.Context(), blob.SourceName(digest), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sources/readme", "catalog.db"} {
		if _, err := to.Stat(t.Context(), name); fault.Of(err) != fault.NotFound {
			t.Errorf("%s was copied: %v", name, err)
		}
	}
	r, err = run(t, from, to, nil)
	want(t, r, err, "found 20, copied 0, already 20, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 4, extra 0, damaged 0, failed 0")
	for name, sum := range content(t, to) {
		if content(t, store)[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
}

// TestParts: one of the two parts of a home store.
func TestParts(t *testing.T) {
	t.Parallel()
	from, to := disk(t, t.TempDir()), disk(t, t.TempDir())
	fill(t, from, 3)
	r, err := run(t, from, to, func(c *blobcopy.Config) { c.Prefixes = []string{blob.RenditionPrefix, blob.OutputPrefix} })
	want(t, r, err, "found 6, copied 6, already 0, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
}

// TestSealed carries encrypted blobs over as they are, and finds damage where it
// has the key.
func TestSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, to, blind := disk(t, dir), disk(t, t.TempDir()), disk(t, t.TempDir())
	k := keys(t, 7)
	fill(t, sealblob.New(store, k), 4)
	put(t, sealblob.New(store, k), blob.SourceName("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), nil) // an empty one
	r, err := run(t, tree(t, dir), to, func(c *blobcopy.Config) { c.Keys = k })
	want(t, r, err, "found 17, copied 17, already 0, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	r, err = run(t, tree(t, dir), blind, func(c *blobcopy.Config) { c.Keys = keys(t, 8) })
	want(t, r, err, "found 17, copied 17, already 0, verified 17, unproven 17, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	same(t, store, to)
	same(t, store, blind)
	fresh := disk(t, t.TempDir())
	for name := range content(t, store) {
		if strings.HasPrefix(name, blob.RecompressedPrefix) || strings.HasPrefix(name, blob.RenditionPrefix) {
			damage(t, dir, name)
		}
	}
	r, err = run(t, tree(t, dir), fresh, func(c *blobcopy.Config) { c.Keys = k })
	want(t, r, err, "found 17, copied 9, already 0, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 8, failed 0")
}

// TestDamagedSource: what is not what its name says is told, and is not copied.
func TestDamagedSource(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, to := disk(t, dir), disk(t, t.TempDir())
	fill(t, store, 3)
	_, digest := bodyOf(1, 1777)
	name := blob.SourceName(digest)
	damage(t, dir, name)
	var told []blobcopy.Trouble
	var mu sync.Mutex
	r, err := run(t, tree(t, dir), to, func(c *blobcopy.Config) {
		c.Trouble = func(tr blobcopy.Trouble) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, tr)
		}
	})
	want(t, r, err, "found 12, copied 11, already 0, verified 3, unproven 3, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 1, failed 0")
	if r.Whole() || len(told) != 1 || told[0].Name != name || !strings.Contains(told[0].Reason, "damaged") {
		t.Errorf("told %v", told)
	}
	if _, err := to.Stat(t.Context(), name); fault.Of(err) != fault.NotFound {
		t.Errorf("a damaged blob was copied: %v", err)
	}
}

// TestVerify finds at the target what has been damaged there, and mends it.
func TestVerify(t *testing.T) {
	t.Parallel()
	dir, there := t.TempDir(), t.TempDir()
	store, to := disk(t, dir), disk(t, there)
	fill(t, store, 3)
	k := keys(t, 7)
	body, digest := bodyOf(77, 200_000)
	put(t, sealblob.New(store, k), blob.SourceName(digest), body)
	verify := func(c *blobcopy.Config) { c.Verify, c.Keys = true, k }
	r, err := run(t, tree(t, dir), to, verify)
	want(t, r, err, "found 13, copied 13, already 0, verified 13, unproven 3, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	bad := 0
	for name := range content(t, to) {
		if strings.HasPrefix(name, blob.RecompressedPrefix) || strings.HasPrefix(name, blob.SourcePrefix) {
			damage(t, there, name)
			bad++
		}
	}
	r, err = run(t, tree(t, dir), to, nil)
	want(t, r, err, "found 13, copied 0, already 13, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	r, err = run(t, tree(t, dir), to, verify)
	want(t, r, err, "found 13, copied 7, already 6, verified 13, unproven 3, repaired 7, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	if bad != 7 {
		t.Errorf("%d were damaged", bad)
	}
	same(t, store, to)
}

// TestBucketInterrupted copies into a bucket, is interrupted, goes on, and copies
// back out of the bucket into another directory.
func TestBucketInterrupted(t *testing.T) {
	storage := s3test.Start(t)
	url := storage.Bucket("photos", "some/where")
	dir := t.TempDir()
	store, to := disk(t, dir), bucket(t, url)
	fill(t, store, 20)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := runIn(ctx, tree(t, dir), to, func(c *blobcopy.Config) {
		c.Progress = func(step string, done, _ blobcopy.Amount) {
			if step == "copying" && done.Blobs == 15 {
				cancel()
			}
		}
	})
	if err == nil || ctx.Err() == nil || r.Copied.Blobs < 15 || r.Copied.Blobs > 25 {
		t.Fatalf("interrupted: %s, %v", figures(r), err)
	}
	first := r.Copied.Blobs
	r, err = run(t, tree(t, dir), to, nil)
	if err != nil || r.Already.Blobs < first || r.Copied.Blobs+r.Already.Blobs != 80 || r.Copied.Blobs == 0 || !r.Whole() {
		t.Errorf("after %d: %s, %v", first, figures(r), err)
	}
	same(t, store, to)
	// Of what has no digest in its name, the bucket has noted one.
	_, digest := bodyOf(3, 1000+3*777)
	name := blob.RecompressedName(digest)
	damage(t, filepath.Join(storage.Dir, "photos", "some", "where"), name)
	back := disk(t, t.TempDir())
	r, err = run(t, to, back, nil)
	want(t, r, err, "found 80, copied 79, already 0, verified 19, unproven 19, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 1, failed 0")
	if len(r.Damaged) == 1 && r.Damaged[0].Name != name {
		t.Errorf("damaged: %v", r.Damaged)
	}
	r, err = run(t, tree(t, dir), back, nil)
	want(t, r, err, "found 80, copied 1, already 79, verified 1, unproven 1, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	same(t, store, back)
}

// TestBucketAway: a bucket falls silent and refuses while it is filled. The run goes
// on when it is back, and loses nothing.
func TestBucketAway(t *testing.T) {
	storage := s3test.Start(t)
	storage.Bucket("photos", "")
	proxy := faultproxy.Start(t, strings.TrimPrefix(storage.Endpoint, "http://"))
	dir := t.TempDir()
	store, to := disk(t, dir), bucket(t, s3test.URL("http://"+proxy.Addr(), "photos", ""))
	fill(t, store, 20)
	var faults sync.WaitGroup
	r, err := run(t, tree(t, dir), to, func(c *blobcopy.Config) {
		c.Patience = time.Minute
		c.Progress = func(step string, done, _ blobcopy.Amount) {
			f, ok := map[int64]faultproxy.Fault{20: faultproxy.Silence, 40: faultproxy.Refuse}[done.Blobs]
			if step != "copying" || !ok {
				return
			}
			proxy.Set(f)
			faults.Go(func() {
				time.Sleep(3 * time.Second) // longer than requests are tried again by themselves
				proxy.Set(faultproxy.None)
			})
		}
	})
	faults.Wait()
	want(t, r, err, "found 80, copied 80, already 0, verified 20, unproven 20, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	same(t, store, to)
}

// hooked calls a function before a blob is opened.
type hooked struct {
	blob.Store
	opening func(name string) error
}

func (h hooked) Open(ctx context.Context, name string) (blob.Reader, error) {
	if name == blob.InstallationName {
		return h.Store.Open(ctx, name)
	}
	if err := h.opening(name); err != nil {
		return nil, err
	}
	return h.Store.Open(ctx, name)
}

// TestOtherInstallation: the target gets the name of the source's installation, and
// one of another is left alone.
func TestOtherInstallation(t *testing.T) {
	t.Parallel()
	from, to := disk(t, t.TempDir()), disk(t, t.TempDir())
	fill(t, from, 2)
	if err := blob.NameInstallation(t.Context(), from, "one"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := run(t, from, to, nil); err != nil {
			t.Fatal(err)
		}
	}
	if name, err := blob.InstallationOf(t.Context(), to); name != "one" || err != nil {
		t.Errorf("the target belongs to %q, %v", name, err)
	}
	if err := blob.NameInstallation(t.Context(), to, "two"); err != nil {
		t.Fatal(err)
	}
	if r, err := run(t, from, to, nil); fault.Of(err) != fault.Conflict || r.Found.Blobs != 0 {
		t.Errorf("into another's home: %s, %v", figures(r), err)
	}
}

// TestChangesMeanwhile: blobs come and go while others are copied.
func TestChangesMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, to := disk(t, dir), disk(t, t.TempDir())
	fill(t, store, 5)
	body, digest := bodyOf(500, 4000)
	var once sync.Once
	from := hooked{tree(t, dir), func(opened string) error {
		once.Do(func() {
			put(t, store, blob.SourceName(digest), body)
			gone := 0
			for i := range 3 {
				_, digest := bodyOf(uint64(100_000+i), 300+i)
				if name := blob.RenditionName(digest); name != opened {
					gone++
					check(t, os.Remove(filepath.Join(dir, name)))
				}
			}
			if gone != 3 { // renditions are copied last but one
				t.Errorf("%s was opened first", opened)
			}
		})
		return nil
	}}
	r, err := run(t, from, to, nil)
	want(t, r, err, "found 20, copied 17, already 0, verified 5, unproven 5, repaired 0, vanished 3, appeared 1, others 0, extra 0, damaged 0, failed 0")
	if r.Whole() {
		t.Error("what has come since is not told")
	}
	r, err = run(t, tree(t, dir), to, nil)
	want(t, r, err, "found 18, copied 1, already 17, verified 0, unproven 0, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 0")
	same(t, store, to)
}

// TestUnwillingSource: failures that pass are waited out, a blob that can't be read
// does not keep others from being copied, and a source that is away ends the run.
func TestUnwillingSource(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, disk(t, dir), 5)
	away := fault.New(fault.Unavailable, "away")
	_, digest := bodyOf(2, 1000+2*777)
	bad := blob.SourceName(digest)
	var asked atomic.Int64
	r, err := run(t, hooked{tree(t, dir), func(name string) error {
		if asked.Add(1) <= 6 || name == bad {
			return away
		}
		return nil
	}}, disk(t, t.TempDir()), nil)
	want(t, r, err, "found 20, copied 19, already 0, verified 5, unproven 5, repaired 0, vanished 0, appeared 0, others 0, extra 0, damaged 0, failed 1")
	r, err = run(t, hooked{tree(t, dir), func(string) error { return away }}, disk(t, t.TempDir()), func(c *blobcopy.Config) { c.Patience = 300 * time.Millisecond })
	if fault.Of(err) != fault.Unavailable || r.Copied.Blobs != 0 {
		t.Errorf("a source that is away: %s, %v", figures(r), err)
	}
}

// full takes some blobs, and then no more.
type full struct {
	blob.Store
	room atomic.Int64
}

func (f *full) Create(ctx context.Context) (blob.Writer, error) {
	if f.room.Add(-1) < 0 {
		return nil, fault.New(fault.OutOfSpace, "there is no room left")
	}
	return f.Store.Create(ctx)
}

// TestFullTarget ends at once, and goes on when there is room.
func TestFullTarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, disk(t, dir), 5)
	to := &full{Store: disk(t, t.TempDir())}
	to.room.Store(7)
	r, err := run(t, tree(t, dir), to, nil)
	if fault.Of(err) != fault.OutOfSpace || r.Copied.Blobs > 7 {
		t.Fatalf("%s, %v", figures(r), err)
	}
	to.room.Store(100)
	r, err = run(t, tree(t, dir), to, nil)
	if err != nil || !r.Whole() || r.Already.Blobs == 0 || r.Already.Blobs+r.Copied.Blobs != 20 {
		t.Errorf("%s, %v", figures(r), err)
	}
}
