package sealblob

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/auth"
	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is the nth key, in hexadecimal.
func secret(n byte) auth.Secret {
	return auth.Secret(hex.EncodeToString(bytes.Repeat([]byte{n}, keyBytes)))
}

func keys(t testing.TB, secrets ...auth.Secret) *Keys {
	t.Helper()
	k, err := Config{Keys: secrets}.Read()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func disk(t testing.TB, dir string) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return New(disk(t, t.TempDir()), keys(t, secret(1), secret(2))) })
}

// put stores bytes and gives the file below.
func put(t testing.TB, s blob.Store, dir, name string, data []byte) string {
	t.Helper()
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
	files, err := filepath.Glob(filepath.Join(dir, name) + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s is not there: %v", name, err)
	}
	return files[0]
}

func get(s blob.Store, name string) ([]byte, error) {
	r, err := s.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// sizes are those at which segments begin and end.
var sizes = []int{0, 1, segmentBytes - 1, segmentBytes, segmentBytes + 1, 3 * segmentBytes, 17*segmentBytes + 5}

// TestSizes writes and reads blobs of critical sizes in pieces of any size, and
// finds neither their bytes below nor their sizes wrong.
func TestSizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := New(disk(t, dir), keys(t, secret(1)))
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range sizes {
		data, name := blobtest.Bytes(uint64(size), size)
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 100_000))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			at := random.IntN(len(data) - len(rest))
			part := make([]byte, min(random.IntN(200_000), len(data)-len(rest)-at))
			if _, err := w.ReadAt(part, int64(at)); err != nil || !bytes.Equal(part, data[at:at+len(part)]) {
				t.Fatalf("%d bytes: what was written at %d reads back otherwise: %v", size, at, err)
			}
		}
		if err := w.Commit(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		checkReads(t, s, name, data, random)
		stored, err := os.ReadFile(filepath.Join(dir, name) + s.keys[0].suffix)
		if err != nil || int64(len(stored)) != sealedSize(int64(size)) {
			t.Fatalf("%d bytes are %d below, expected %d; %v", size, len(stored), sealedSize(int64(size)), err)
		}
		if size > 16 && bytes.Contains(stored, data[:16]) {
			t.Errorf("the bytes can be read below")
		}
	}
}

// checkReads reads a blob in every way.
func checkReads(t *testing.T, s blob.Store, name string, data []byte, random *rand.Rand) {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) || r.Info().Bytes != int64(len(data)) {
		t.Fatalf("%d bytes read as %d, %+v, %v", len(data), len(got), r.Info(), err)
	}
	if info, err := s.Stat(t.Context(), name); err != nil || info.Bytes != int64(len(data)) || info.Name != name {
		t.Fatalf("%+v, %v", info, err)
	}
	for range 20 {
		at, part := random.IntN(len(data)+1), make([]byte, random.IntN(len(data)+10))
		n, err := r.ReadAt(part, int64(at))
		if n != min(len(part), len(data)-at) || !bytes.Equal(part[:n], data[at:at+n]) || (n < len(part)) != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) of %d gave %d, %v", len(part), at, len(data), n, err)
		}
		if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(r, part); n != min(len(part), len(data)-at) || !bytes.Equal(part[:n], data[at:at+n]) {
			t.Fatalf("%d bytes after Seek to %d of %d: %v", n, at, len(data), err)
		}
	}
}

// TestTampering changes what is stored in every way that a thief of the disk
// might: all of it is noticed, by whoever reads all bytes.
func TestTampering(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := New(disk(t, dir), keys(t, secret(1)))
	const size = 3*segmentBytes + 100
	data, name := blobtest.Bytes(1, size)
	other, otherName := blobtest.Bytes(2, size)
	file, otherFile := put(t, s, dir, name, data), put(t, s, dir, otherName, other)
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(otherFile)
	if err != nil {
		t.Fatal(err)
	}
	segment := func(of []byte, n int) []byte {
		at := headerBytes + n*sealedBytes
		return of[at:min(at+sealedBytes, len(of))]
	}
	changes := map[string][]byte{
		"nothing":              {},
		"cut in the header":    sound[:headerBytes-1],
		"header only":          sound[:headerBytes],
		"cut by one":           sound[:len(sound)-1],
		"cut at a segment":     sound[:headerBytes+3*sealedBytes],
		"cut within a segment": sound[:headerBytes+2*sealedBytes+1000],
		"longer by one":        append(slices.Clone(sound), 0),
		"longer by a segment":  append(slices.Clone(sound), segment(sound, 1)...),
		"two segments swapped": slices.Concat(sound[:headerBytes], segment(sound, 1), segment(sound, 0), segment(sound, 2), segment(sound, 3)),
		"a segment repeated":   slices.Concat(sound[:headerBytes], segment(sound, 0), segment(sound, 0), segment(sound, 2), segment(sound, 3)),
		"a foreign segment":    slices.Concat(sound[:headerBytes], segment(foreign, 0), segment(sound, 1), segment(sound, 2), segment(sound, 3)),
		"a foreign header":     slices.Concat(foreign[:headerBytes], sound[headerBytes:]),
		"not sealed":           data,
	}
	for i := 0; i < len(sound); i += 997 {
		flipped := slices.Clone(sound)
		flipped[i] ^= 1 << (i % 8)
		changes[fmt.Sprint("bit of byte ", i)] = flipped
	}
	for what, stored := range changes {
		if err := os.WriteFile(file, stored, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := get(s, name); err == nil || fault.Of(err) != fault.Internal {
			t.Errorf("%s: %d bytes were read, %v", what, len(got), err)
		}
		r, err := s.Open(t.Context(), name)
		if err != nil {
			continue
		}
		if n, err := r.ReadAt(make([]byte, size), 0); err == nil {
			t.Errorf("%s: ReadAt gave %d bytes", what, n)
		}
		if _, err := r.(blob.Filer).File(); err == nil {
			t.Errorf("%s: there is a file", what)
		}
		_ = r.Close()
	}
}

// TestEmptyIsSealed: an empty blob can't be made of another one.
func TestEmptyIsSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := New(disk(t, dir), keys(t, secret(1)))
	file := put(t, s, dir, "a/b", nil)
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stored[len(stored)-1] ^= 1
	if err := os.WriteFile(file, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(s, "a/b"); fault.Of(err) != fault.Internal || err == nil {
		t.Errorf("a forged empty blob is read with %v", err)
	}
}

// TestRotation: blobs from before there was a key, and of earlier keys, are read;
// Reseal leaves the first key's only, after which the others are not needed.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := disk(t, dir)
	all := map[string][]byte{}
	for i, s := range []blob.Store{below, New(below, keys(t, secret(1))), New(below, keys(t, secret(2), secret(1)))} {
		for k := range 3 {
			data, name := blobtest.Bytes(uint64(10*i+k), 100_000)
			put(t, s, dir, name, data)
			all[name] = data
		}
	}
	if one, two := keys(t, secret(1)), keys(t, secret(2), secret(1)); one.Present() == two.Present() || len(one.Present()) != 8 || (&Keys{}).Present() != "" {
		t.Errorf("the keys in force are %q and %q", one.Present(), two.Present())
	}
	twice, name := blobtest.Bytes(0, 100_000) // plain, and sealed by the first key
	first := New(below, keys(t, secret(1)))
	put(t, first, dir, name, twice)
	check := func(s *Store) {
		t.Helper()
		for name, data := range all {
			if got, err := get(s, name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s reads as %d bytes, %v", name, len(got), err)
			}
		}
	}
	s := New(below, keys(t, secret(3), secret(2), secret(1)))
	check(s)
	stale := 0
	if err := s.Stale(t.Context(), "sources/", func(name string) error {
		stale++
		return s.Reseal(t.Context(), name, func(ctx context.Context) (blob.Reader, error) { return s.Open(ctx, name) })
	}); err != nil {
		t.Fatal(err)
	}
	if stale < len(all) {
		t.Errorf("%d blobs were stale, of %d", stale, len(all))
	}
	alone := New(below, keys(t, secret(3)))
	check(alone)
	err := filepath.WalkDir(filepath.Join(dir, "sources"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, alone.keys[0].suffix) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := alone.Delete(t.Context(), name, time.Now().Add(time.Hour)); err != nil || !gone {
		t.Error(gone, err)
	}
	if _, err := get(s, name); fault.Of(err) != fault.NotFound {
		t.Errorf("a deleted blob is read with %v", err)
	}
}

// TestKeyThatIsMissing: a blob whose key is not configured is not found, and is
// not taken for another.
func TestKeyThatIsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := disk(t, dir)
	file := put(t, New(below, keys(t, secret(1))), dir, "a/b", []byte("x"))
	s := New(below, keys(t, secret(2)))
	if _, err := get(s, "a/b"); fault.Of(err) != fault.NotFound {
		t.Errorf("it is read with %v", err)
	}
	if err := os.Rename(file, filepath.Join(dir, "a", "b")+s.keys[0].suffix); err != nil {
		t.Fatal(err)
	}
	if _, err := get(s, "a/b"); err == nil || !strings.Contains(err.Error(), "encryption.keys") {
		t.Errorf("under the name of another key it is read with %v", err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(string(secret(7))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keys []auth.Secret
		want string // in the error
	}{
		{nil, ""},
		{[]auth.Secret{secret(1), auth.Secret("file:" + file)}, ""},
		{[]auth.Secret{"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}, ""},
		{[]auth.Secret{secret(7), auth.Secret("file:" + file)}, "key 2: it is there already"},
		{[]auth.Secret{"file:/does/not/exist"}, "key 1: open /does/not/exist"},
		{[]auth.Secret{"file:/dev/zero"}, "key 1: /dev/zero is no file with a key"},
		{[]auth.Secret{secret(1)[:20]}, "key 1: it has 10 bytes; expected 32"},
		{[]auth.Secret{"not a key!"}, "expected hexadecimal or base64"},
	} {
		k, err := Config{Keys: c.keys}.Read()
		if c.want == "" && (err != nil || len(k.all) != len(c.keys)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d keys: %v, expected %q", len(c.keys), err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "not a key") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func FuzzPlainSize(f *testing.F) {
	for _, size := range sizes {
		f.Add(sealedSize(int64(size)))
	}
	f.Fuzz(func(t *testing.T, sealed int64) {
		if sealed > 1<<50 {
			return
		}
		if plain, err := plainSize(sealed); err == nil && sealedSize(plain) != sealed {
			t.Errorf("%d bytes would be %d, which are %d", sealed, plain, sealedSize(plain))
		}
	})
}

// BenchmarkSeal writes and reads 3 MB, sealed and not.
func BenchmarkSeal(b *testing.B) {
	data, name := blobtest.Bytes(1, 3<<20)
	for _, sealed := range []string{"plain", "sealed"} {
		dir := b.TempDir()
		var s blob.Store = disk(b, dir)
		if sealed == "sealed" {
			s = New(s, keys(b, secret(1)))
		}
		b.Run(sealed+"/write", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				w, err := s.Create(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(data); err != nil {
					b.Fatal(err)
				}
				w.Abort()
			}
		})
		put(b, s, dir, name, data)
		b.Run(sealed+"/file", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				r, err := s.Open(b.Context(), name)
				if err != nil {
					b.Fatal(err)
				}
				f, err := r.(blob.Filer).File()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, f); err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
				_ = r.Close()
			}
		})
	}
}

// moving is a store whose blobs are sealed anew while somebody looks for them.
type moving struct {
	blob.Store
	reseal func() // once, after a name was looked for in vain
}

func (m *moving) move(err error) error {
	if reseal := m.reseal; reseal != nil && fault.Of(err) == fault.NotFound {
		m.reseal = nil
		reseal()
	}
	return err
}

func (m *moving) Open(ctx context.Context, name string) (blob.Reader, error) {
	r, err := m.Store.Open(ctx, name)
	return r, m.move(err)
}

func (m *moving) Stat(ctx context.Context, name string) (blob.Info, error) {
	i, err := m.Store.Stat(ctx, name)
	return i, m.move(err)
}

// TestFindWhileResealed: a blob that is sealed anew between two looks is found.
func TestFindWhileResealed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		from func(*diskblob.Store) blob.Store // as it was written
		now  []auth.Secret
	}{
		{"plain", func(s *diskblob.Store) blob.Store { return s }, []auth.Secret{secret(1)}},
		{"an earlier key", func(s *diskblob.Store) blob.Store { return New(s, keys(t, secret(1))) }, []auth.Secret{secret(2), secret(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			below := disk(t, dir)
			data, name := blobtest.Bytes(1, 1000)
			for what, look := range map[string]func(blob.Store) error{
				"Stat": func(s blob.Store) error { _, err := s.Stat(t.Context(), name); return err },
				"Open": func(s blob.Store) error {
					got, err := get(s, name)
					if err == nil && !bytes.Equal(got, data) {
						t.Error("it has other bytes")
					}
					return err
				},
			} {
				put(t, c.from(below), dir, name, data)
				m := &moving{Store: below}
				other := New(below, keys(t, c.now...))
				m.reseal = func() {
					err := other.Reseal(t.Context(), name, func(ctx context.Context) (blob.Reader, error) { return other.Open(ctx, name) })
					if err != nil {
						t.Error(err)
					}
				}
				s := New(m, keys(t, c.now...))
				if err := look(s); err != nil || m.reseal != nil {
					t.Errorf("%s: %v", what, err)
				}
				if gone, err := other.Delete(t.Context(), name, time.Now().Add(time.Hour)); err != nil || !gone {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestResealReadsBack: a form of a blob does not go for another one that is
// damaged.
func TestResealReadsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := disk(t, dir)
	s := New(below, keys(t, secret(1)))
	data, name := blobtest.Bytes(1, 3*segmentBytes)
	sealed := put(t, s, dir, name, data)
	stored, err := os.ReadFile(sealed)
	if err != nil {
		t.Fatal(err)
	}
	stored[len(stored)-1] ^= 1
	if err := errors.Join(os.Chmod(sealed, 0o600), os.WriteFile(sealed, stored, 0o600)); err != nil {
		t.Fatal(err)
	}
	put(t, below, dir, name, data)
	err = s.Reseal(t.Context(), name, func(ctx context.Context) (blob.Reader, error) { return s.Open(ctx, name) })
	if !blob.IsDamage(err) {
		t.Errorf("got %v, expected damage", err)
	}
	if got, err := get(below, name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the other form is gone: %v", err)
	}
}
