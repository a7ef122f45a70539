package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"safelight/internal/blob"
)

func replace(t *testing.T, s blob.Store) {
	const name = "published/a.jpg"
	for i := range 3 {
		data, _ := Bytes(uint64(i), 2000-i*500)
		put(t, s, name, data)
		want(t, s, name, data)
	}
	if got := names(t, s, ""); len(got) != 1 {
		t.Fatalf("List shows %v, expected one blob", got)
	}
}

func outlive(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 100_000)
	other, _ := Bytes(2, 50_000)
	for _, end := range []func(){
		func() { put(t, s, name, other) },
		func() {
			if ok, err := s.Delete(context.Background(), name, time.Now().Add(time.Hour)); !ok || err != nil {
				t.Fatalf("Delete gave %v, %v", ok, err)
			}
		},
	} {
		put(t, s, name, data)
		r, err := s.Open(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		end()
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the reader gave %d bytes, %v; expected the old %d", len(got), err, len(data))
		}
		if f, ok := r.(blob.Filer); ok {
			sameFile(t, f, data)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// digest checks the digest of what knows it.
func digest(t *testing.T, of any, data []byte) {
	t.Helper()
	if d, ok := of.(blob.Digester); ok {
		if sum, known := d.Digest(); known && sum != sha256.Sum256(data) {
			t.Fatalf("Digest gave %x, which is not that of the bytes", sum)
		}
	}
}

func sameFile(t *testing.T, f blob.Filer, data []byte) {
	t.Helper()
	file, err := f.File()
	if err != nil {
		t.Fatalf("File: %v", err)
	}
	defer file.Close()
	got, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the file gave %d bytes, %v; expected %d", len(got), err, len(data))
	}
}

func independent(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 200_000)
	put(t, s, name, data)
	r, err := s.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			part, off := make([]byte, 10_000), i*20_000
			if n, err := r.ReadAt(part, int64(off)); n != len(part) || err != nil || !bytes.Equal(part, data[off:off+len(part)]) {
				t.Errorf("ReadAt(%d) gave %d, %v", off, n, err)
			}
		})
	}
	wg.Wait()
	if pos, err := r.Seek(-1000, io.SeekEnd); pos != 199_000 || err != nil {
		t.Fatalf("Seek gave %d, %v", pos, err)
	}
	if tail, err := io.ReadAll(r); err != nil || !bytes.Equal(tail, data[199_000:]) {
		t.Fatalf("after Seek %d bytes came, %v", len(tail), err)
	}
}

func files(t *testing.T, s blob.Store) {
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	f, ok := w.(blob.Filer)
	if !ok {
		t.Skip("the store's writers are not local files")
	}
	data, name := Bytes(1, 10_000)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	sameFile(t, f, data)
	sameFile(t, f, data) // each has its own offset
	digest(t, w, data)
	early, err := f.File()
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if err := w.Commit(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(early); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("a file opened before Commit gave %d bytes after it, %v", len(got), err)
	}
	r, err := s.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok = r.(blob.Filer); !ok {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		t.Skip("what is stored is not a local file, as what is being written is")
	}
	late, err := f.File()
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(late); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("a file did not outlive its reader: %d bytes, %v", len(got), err)
	}
}

func remove(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 100)
	put(t, s, name, data)
	for range 2 { // there, and then missing
		if ok, err := s.Delete(context.Background(), name, time.Now().Add(time.Hour)); !ok || err != nil {
			t.Fatalf("Delete gave %v, %v; expected true", ok, err)
		}
		if _, err := s.Open(context.Background(), name); err == nil {
			t.Fatal("a deleted blob can be opened")
		}
	}
	put(t, s, name, data) // and back again
	want(t, s, name, data)
}

func spare(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 100)
	put(t, s, name, data)
	first, err := s.Stat(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, unless := range []time.Time{first.Modified, first.Modified.Add(-time.Hour)} {
		if ok, err := s.Delete(context.Background(), name, unless); ok || err != nil {
			t.Fatalf("Delete unless committed since %v gave %v, %v; it was committed at %v", unless, ok, err, first.Modified)
		}
	}
	mark := time.Now()
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.(blob.Sweeper); ok { // a local clock
		if ok, err := s.Delete(context.Background(), name, mark); ok || err != nil {
			t.Fatalf("Delete gave %v, %v for a blob committed again after the mark", ok, err)
		}
	}
	want(t, s, name, data)
}

func list(t *testing.T, s blob.Store) {
	all := []string{"a/b/c", "a/b/d", "a/bb", "ab", "b/c", "sources/ab/cd/abcd"}
	for i, name := range all {
		data, _ := Bytes(uint64(i), 10+i)
		put(t, s, name, data)
	}
	w, err := s.Create(context.Background()) // never listed
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for prefix, expected := range map[string][]string{
		"": all, "a": all[:4], "a/": all[:3], "a/b": all[:3], "a/b/": all[:2], "a/b/c": all[:1], "a/bb": all[2:3],
		"sources/": all[5:], "sources/a": all[5:], "sources/b": nil, "x": nil, "x/y/z": nil, "a/b/c/": nil,
	} {
		if got := names(t, s, prefix); !slices.Equal(got, expected) {
			t.Errorf("List(%q) gave %q, expected %q", prefix, got, expected)
		}
	}
	if err := s.List(context.Background(), "a/bb", func(i blob.Info) error {
		stat, err := s.Stat(context.Background(), i.Name)
		if err != nil || stat.Bytes != i.Bytes || !stat.Modified.Equal(i.Modified) {
			t.Errorf("List says %+v, Stat says %+v, %v", i, stat, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func listStops(t *testing.T, s blob.Store) {
	for i := range 5 {
		data, name := Bytes(uint64(i), 10)
		put(t, s, name, data)
	}
	stop, calls := errors.New("enough"), 0
	err := s.List(context.Background(), "", func(blob.Info) error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 2 {
		t.Fatalf("List gave %v after %d calls, expected the function's error after 2", err, calls)
	}
}

// oneName checks that whoever wins, readers see one whole blob.
func oneName(t *testing.T, s blob.Store) {
	const name = "published/same"
	var versions [8][]byte
	for i := range versions {
		versions[i], _ = Bytes(uint64(i), 20_000+i)
	}
	whole := func(got []byte) bool {
		return slices.ContainsFunc(versions[:], func(v []byte) bool { return bytes.Equal(v, got) })
	}
	put(t, s, name, versions[0])
	var wg sync.WaitGroup
	for _, v := range versions {
		wg.Go(func() {
			for range 5 {
				if err := tryPut(s, name, v); err != nil {
					t.Errorf("storing: %v", err)
				}
				if got, err := get(s, name); err != nil || !whole(got) {
					t.Errorf("read %d bytes that nobody wrote, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

// commitDelete checks that a sweep never takes what was committed after it
// had made up its mind.
func commitDelete(t *testing.T, s blob.Store) {
	if _, ok := s.(blob.Sweeper); !ok {
		t.Skip("the store's clock is not ours")
	}
	data, name := Bytes(1, 100)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Delete(context.Background(), name, time.Now()); err != nil {
				t.Errorf("Delete: %v", err)
			}
		}
	})
	for range 50 {
		before := time.Now()
		put(t, s, name, data)
		if _, err := s.Delete(context.Background(), name, before); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	close(stop)
	wg.Wait()
	put(t, s, name, data)
	want(t, s, name, data)
}
