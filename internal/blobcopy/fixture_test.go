package blobcopy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"safelight/internal/auth"
	"safelight/internal/blob"
	"safelight/internal/blobcopy"
	"safelight/internal/cdkblob"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/diskblob"
	"safelight/internal/objectblob"
	"safelight/internal/sealblob"
	"safelight/internal/treeblob"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk is a directory, open for writing.
func disk(t testing.TB, dir string) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// tree is a directory, open for reading.
func tree(t testing.TB, dir string) *treeblob.Store {
	t.Helper()
	s, err := treeblob.Open(dir)
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// bucket is one of a real server.
func bucket(t testing.TB, url string) blob.Store {
	t.Helper()
	s3test.SetEnv(t)
	s, err := cdkblob.Open(t.Context(), cdkblob.Options{URL: url, Config: objectblob.DefaultConfig(), Spool: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// keys are those of a configuration with one key of 32 equal bytes.
func keys(t testing.TB, b byte) *sealblob.Keys {
	t.Helper()
	k, err := sealblob.Config{Keys: []auth.Secret{auth.Secret(hex.EncodeToString(bytes.Repeat([]byte{b}, 32)))}}.Read()
	check(t, err)
	return k
}

func put(t testing.TB, s blob.Store, name string, body []byte) {
	t.Helper()
	w, err := s.Create(t.Context())
	check(t, err)
	defer w.Abort()
	_, err = w.Write(body)
	check(t, err)
	check(t, w.Commit(t.Context(), name))
}

// bodyOf is some bytes, the same for the same seed, with their digest.
func bodyOf(seed uint64, size int) (body []byte, digest string) {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	body = make([]byte, size)
	_, _ = r.Read(body)
	sum := sha256.Sum256(body)
	return body, hex.EncodeToString(sum[:])
}

// fill puts n blobs of every kind into a store.
func fill(t testing.TB, s blob.Store, n int) {
	t.Helper()
	for i := range n {
		body, digest := bodyOf(uint64(i), 1000+i*777)
		put(t, s, blob.SourceName(digest), body)
		put(t, s, blob.RecompressedName(digest), body[:len(body)/2])
		put(t, s, blob.OutputName(digest), body)
		body, digest = bodyOf(uint64(100_000+i), 300+i)
		put(t, s, blob.RenditionName(digest), body)
	}
}

// content is what a store has, by name, of all that is copied.
func content(t testing.TB, s blob.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, prefix := range blobcopy.Prefixes() {
		check(t, s.List(t.Context(), prefix, func(i blob.Info) error {
			r, err := s.Open(t.Context(), i.Name)
			if err != nil {
				return err
			}
			defer r.Close()
			h := sha256.New()
			_, err = io.Copy(h, r)
			all[i.Name] = hex.EncodeToString(h.Sum(nil))
			return err
		}))
	}
	return all
}

// damage changes a byte of a blob's file, and not its size.
func damage(t testing.TB, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	check(t, err)
	data[len(data)/2] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
}

// run copies, with few at once.
func run(t testing.TB, from, to blob.Store, change func(*blobcopy.Config)) (blobcopy.Report, error) {
	t.Helper()
	return runIn(t.Context(), from, to, change)
}

func runIn(ctx context.Context, from, to blob.Store, change func(*blobcopy.Config)) (blobcopy.Report, error) {
	cfg := blobcopy.Config{From: from, To: to, Parallel: 4, Patience: 10 * time.Second}
	if change != nil {
		change(&cfg)
	}
	return blobcopy.Run(ctx, cfg)
}

// figures are a report's counts, to be compared.
func figures(r blobcopy.Report) string {
	return fmt.Sprintf("found %d, copied %d, already %d, verified %d, unproven %d, repaired %d, vanished %d, appeared %d, others %d, extra %d, damaged %d, failed %d",
		r.Found.Blobs, r.Copied.Blobs, r.Already.Blobs, r.Verified.Blobs, r.Unproven, r.Repaired, r.Vanished, r.Appeared, r.Others, r.Extra, len(r.Damaged), len(r.Failed))
}

func want(t testing.TB, r blobcopy.Report, err error, figure string) {
	t.Helper()
	if got := figures(r); err != nil || got != figure {
		t.Errorf("%s, %v; want\n%s\n%v %v", got, err, figure, r.Damaged, r.Failed)
	}
}
