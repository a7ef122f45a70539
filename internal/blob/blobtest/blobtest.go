// Package blobtest states the contract of blob.Store in executable form. Every
// store, and every wrapper around one, runs it.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// Run checks a store; open gives an empty one that only this test uses.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"commit then read", commitThenRead},
		{"an empty blob", emptyBlob},
		{"nothing is visible before commit", invisible},
		{"abort leaves nothing", abort},
		{"the writer reads back", readBack},
		{"missing names", missing},
		{"unsafe names", unsafeNames},
		{"commit replaces", replace},
		{"a reader outlives its name", outlive},
		{"readers are independent", independent},
		{"delete", remove},
		{"delete spares what was committed again", spare},
		{"list by prefix", list},
		{"list passes on what its function says", listStops},
		{"files", files},
		{"cancelled before the start", cancelled},
		{"concurrent commits", concurrent},
		{"concurrent commits of one name", oneName},
		{"commit against delete", commitDelete},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Bytes makes n bytes that no other seed gives, and their source name.
func Bytes(seed uint64, n int) (data []byte, name string) {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})
	data = make([]byte, n)
	_, _ = r.Read(data)
	sum := sha256.Sum256(data)
	return data, blob.SourceName(hex.EncodeToString(sum[:]))
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := tryPut(s, name, data); err != nil {
		t.Fatalf("storing %s: %v", name, err)
	}
}

func tryPut(s blob.Store, name string, data []byte) error {
	w, err := s.Create(context.Background())
	if err != nil {
		return err
	}
	defer w.Abort()
	if n, err := w.Write(data); err != nil || n != len(data) {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(data), err)
	}
	return w.Commit(context.Background(), name)
}

func get(s blob.Store, name string) ([]byte, error) {
	r, err := s.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err == nil && (r.Info().Bytes != int64(len(data)) || r.Info().Name != name) {
		err = fmt.Errorf("%s has %d bytes, but Info says %+v", name, len(data), r.Info())
	}
	sum := sha256.Sum256(data)
	if noted := r.Info().SHA256; err == nil && noted != "" && noted != hex.EncodeToString(sum[:]) {
		err = fmt.Errorf("%s has the SHA-256 %x, but Info says %s", name, sum, noted)
	}
	if d, ok := r.(blob.Digester); ok && err == nil {
		if got, known := d.Digest(); known && got != sum {
			err = fmt.Errorf("%s has the SHA-256 %x, but Digest says %x", name, sum, got)
		}
	}
	return data, err
}

func want(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	got, err := get(s, name)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("reading %s gave %d bytes (%v), expected the %d stored ones", name, len(got), err, len(data))
	}
	info, err := s.Stat(context.Background(), name)
	if err != nil || info.Name != name || info.Bytes != int64(len(data)) {
		t.Fatalf("Stat gave %+v, %v", info, err)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.Of(err) != kind {
		t.Fatalf("got error %v (%v), expected kind %v", err, fault.Of(err), kind)
	}
}

func names(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var got []string
	if err := s.List(context.Background(), prefix, func(i blob.Info) error {
		got = append(got, i.Name)
		return nil
	}); err != nil {
		t.Fatalf("List(%q): %v", prefix, err)
	}
	slices.Sort(got)
	return got
}

func commitThenRead(t *testing.T, s blob.Store) {
	start := time.Now().Add(-2 * time.Second)
	for i, size := range []int{1, 4095, 4096, 1 << 20} {
		data, name := Bytes(uint64(i), size)
		put(t, s, name, data)
		want(t, s, name, data)
		info, err := s.Stat(context.Background(), name)
		if err != nil || info.Modified.Before(start) || info.Modified.After(time.Now().Add(2*time.Second)) {
			t.Fatalf("Modified is %v (%v), expected about now", info.Modified, err)
		}
	}
}

func emptyBlob(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 0)
	put(t, s, name, data)
	want(t, s, name, data)
}

func invisible(t *testing.T, s blob.Store) {
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	data, name := Bytes(1, 1000)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(context.Background(), name)
	wantKind(t, err, fault.NotFound)
	if got := names(t, s, ""); len(got) != 0 {
		t.Fatalf("List shows %v before Commit", got)
	}
}

func abort(t *testing.T, s blob.Store) {
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	data, name := Bytes(1, 1000)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if err := w.Commit(context.Background(), name); err == nil {
		t.Fatal("Commit after Abort succeeded")
	}
	if got := names(t, s, ""); len(got) != 0 {
		t.Fatalf("List shows %v after Abort", got)
	}
	put(t, s, name, data)
	want(t, s, name, data)
}

func readBack(t *testing.T, s blob.Store) {
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	data, name := Bytes(1, 10_000)
	check := func(when string, written int) {
		t.Helper()
		part := make([]byte, 500)
		if n, err := w.ReadAt(part, 100); n != 500 || err != nil || !bytes.Equal(part, data[100:600]) {
			t.Fatalf("%s: ReadAt gave %d, %v", when, n, err)
		}
		if n, err := w.ReadAt(part, int64(written-10)); n != 10 || !errors.Is(err, io.EOF) {
			t.Fatalf("%s: ReadAt over the end gave %d, %v; expected 10, EOF", when, n, err)
		}
	}
	for _, half := range [][]byte{data[:5000], data[5000:]} {
		if _, err := w.Write(half); err != nil {
			t.Fatal(err)
		}
		if &half[0] == &data[0] {
			check("half way", 5000)
		}
	}
	check("before Commit", len(data))
	if err := w.Commit(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	check("after Commit", len(data))
	w.Abort() // does nothing
	want(t, s, name, data)
}

func missing(t *testing.T, s blob.Store) {
	data, name := Bytes(1, 100)
	_, other := Bytes(2, 100)
	for range 2 { // in an empty store, and beside another blob
		_, err := s.Open(context.Background(), name)
		wantKind(t, err, fault.NotFound)
		_, err = s.Stat(context.Background(), name)
		wantKind(t, err, fault.NotFound)
		put(t, s, other, data)
	}
	for _, directory := range []string{"sources", other[:len("sources/ab/cd")], other + "/below"} {
		_, err := s.Open(context.Background(), directory)
		wantKind(t, err, fault.NotFound)
		_, err = s.Stat(context.Background(), directory)
		wantKind(t, err, fault.NotFound)
	}
}

func unsafeNames(t *testing.T, s blob.Store) {
	for _, name := range []string{"", ".", "..", "../x", "a/../b", "a/..", "/a", "a/", "a//b", "./a", "a\x00b"} {
		wantKind(t, tryPut(s, name, []byte("x")), fault.Invalid)
		_, err := s.Open(context.Background(), name)
		wantKind(t, err, fault.Invalid)
		_, err = s.Stat(context.Background(), name)
		wantKind(t, err, fault.Invalid)
		_, err = s.Delete(context.Background(), name, time.Now())
		wantKind(t, err, fault.Invalid)
	}
}

func cancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if w, err := s.Create(ctx); err == nil {
		w.Abort()
		t.Fatal("Create with a cancelled context succeeded")
	}
}

func concurrent(t *testing.T, s blob.Store) {
	const workers, each = 16, 12
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				data, name := Bytes(uint64(w*each+i), 3000+i)
				if err := tryPut(s, name, data); err != nil {
					t.Errorf("storing: %v", err)
				} else if got, err := get(s, name); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s is not readable right after Commit: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(names(t, s, "sources/")); n != workers*each {
		t.Fatalf("List shows %d blobs, expected %d", n, workers*each)
	}
}
