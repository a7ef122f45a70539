package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

// fakeCatalog takes everything under its first key, or fails.
type fakeCatalog struct {
	catalog.Catalog
	err     error
	changes []catalog.Change
	before  func()
}

func (c *fakeCatalog) Commit(_ context.Context, change catalog.Change) ([]catalog.Result, error) {
	c.changes = append(c.changes, change)
	if c.before != nil {
		c.before()
	}
	if c.err != nil {
		return nil, c.err
	}
	img := change.Images[0].Image
	img.Key = change.Images[0].Keys[0]
	return []catalog.Result{{Image: img}}, nil
}

// fakeCodec answers what it is told to, and notes what it was shown.
type fakeCodec struct {
	result plan.Result
	err    error
	jobs   []plan.Job
	saw    []byte
}

func (c *fakeCodec) Inspect(_ context.Context, job plan.Job, source *os.File) (plan.Result, error) {
	c.jobs = append(c.jobs, job)
	c.saw, _ = io.ReadAll(source)
	return c.result, c.err
}

type fixture struct {
	*Service
	dir     string
	store   *diskblob.Store
	catalog *fakeCatalog
	codec   *fakeCodec
}

func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	f := &fixture{dir: t.TempDir(), catalog: &fakeCatalog{}, codec: &fakeCodec{}}
	var err error
	if f.store, err = diskblob.Open(diskblob.Config{Dir: f.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	f.Service = New(config, blob.NewHome(f.store), f.catalog, f.codec, asset.NewMint([]byte("0123456789abcdef")), nil)
	return f
}

// files lists everything in the store's directory but its lock.
func (f *fixture) files(t *testing.T) (temporary, stored []string) {
	t.Helper()
	err := filepath.WalkDir(f.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(f.dir, name)
		if strings.HasPrefix(rel, "sources/") {
			stored = append(stored, rel)
		} else if !strings.Contains(rel, "lock") {
			temporary = append(temporary, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return temporary, stored
}

func (f *fixture) checkEmpty(t *testing.T) {
	t.Helper()
	if temporary, stored := f.files(t); len(temporary)+len(stored) > 0 {
		t.Errorf("left behind: %q, %q", temporary, stored)
	}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("safelight "), 30_000) // several buffers
	for name, reader := range map[string]io.Reader{
		"at once": bytes.NewReader(body), "byte by byte": iotest.OneByteReader(bytes.NewReader(body[:5000])),
		"in halves": iotest.HalfReader(bytes.NewReader(body)), "its end with its last bytes": iotest.DataErrReader(bytes.NewReader(body)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			want := body
			if name == "byte by byte" {
				want = body[:5000]
			}
			got, err := f.Receive(t.Context(), File{Name: "a.jpg", Prefix: "x/"}, reader)
			if err != nil {
				t.Fatal(err)
			}
			if got.Bytes != int64(len(want)) || got.Digest != sha256.Sum256(want) || got.File.Name != "a.jpg" || got.File.Prefix != "x/" {
				t.Errorf("%d bytes, %s, %+v", got.Bytes, got.Digest, got.File)
			}
			back := make([]byte, got.Bytes)
			if _, err := got.w.ReadAt(back, 0); err != nil && err != io.EOF || !bytes.Equal(back, want) {
				t.Errorf("what was written can't be read: %v", err)
			}
			got.Discard()
			got.Discard()
			f.checkEmpty(t)
		})
	}
}

func TestReceiveLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 10, copyBytes - 1, copyBytes, copyBytes + 1, 3 * copyBytes} {
		f := newFixture(t, func(c *Config) { c.MaxFileBytes = limit })
		at, err := f.Receive(t.Context(), File{}, io.LimitReader(zeros{}, limit))
		if err != nil || at.Bytes != limit {
			t.Fatalf("at the limit of %d: %v", limit, err)
		}
		at.Discard()
		for _, more := range []int64{1, 1000, 1 << 20} {
			_, err = f.Receive(t.Context(), File{}, io.LimitReader(zeros{}, limit+more))
			if e := fault.As(err); e == nil || e.Kind != fault.TooLarge || e.Limit != "ingest.max_file_bytes" || e.Max != limit || e.Got <= limit {
				t.Errorf("%d bytes over the limit of %d: %+v", more, limit, err)
			}
		}
		f.checkEmpty(t)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReceiveRefuses(t *testing.T) {
	t.Parallel()
	right, wrong := asset.Digest(sha256.Sum256([]byte("body"))), asset.Digest{1}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("connection reset")
	long := strings.Repeat("p", asset.MaxPrefixBytes)
	body := func() io.Reader { return strings.NewReader("body") }
	tests := []struct {
		name string
		ctx  context.Context
		file File
		body io.Reader
		kind fault.Kind // Internal: it is taken
		is   error
	}{
		{"the promised digest", t.Context(), File{Want: &right}, body(), fault.Internal, nil},
		{"another digest", t.Context(), File{Want: &wrong}, body(), fault.Invalid, nil},
		{"empty", t.Context(), File{}, strings.NewReader(""), fault.Unsupported, nil},
		{"broken off at once", t.Context(), File{}, iotest.ErrReader(io.ErrUnexpectedEOF), fault.Invalid, io.ErrUnexpectedEOF},
		{"broken off", t.Context(), File{}, io.MultiReader(body(), iotest.ErrReader(io.ErrUnexpectedEOF)), fault.Invalid, io.ErrUnexpectedEOF},
		{"broken off after a buffer", t.Context(), File{}, io.MultiReader(io.LimitReader(zeros{}, copyBytes), iotest.ErrReader(broken)), fault.Invalid, broken},
		{"broken off with the promised digest", t.Context(), File{Want: &right}, io.MultiReader(body(), iotest.ErrReader(broken)), fault.Invalid, broken},
		{"slow", t.Context(), File{}, iotest.TimeoutReader(iotest.OneByteReader(body())), fault.Invalid, iotest.ErrTimeout},
		{"an error of a kind", t.Context(), File{}, iotest.ErrReader(fault.New(fault.TooLarge, "request")), fault.TooLarge, nil},
		{"client gone", gone, File{}, zeros{}, fault.Canceled, context.Canceled},
		{"prefix without a slash", t.Context(), File{Prefix: "a"}, body(), fault.Internal, nil},
		{"longest prefix", t.Context(), File{Prefix: long[1:] + "/"}, body(), fault.Internal, nil},
		{"too long a prefix", t.Context(), File{Prefix: long + "/"}, body(), fault.Invalid, nil},
		{"prefix that is only a slash", t.Context(), File{Prefix: "/"}, body(), fault.Invalid, nil},
		{"prefix with an empty end", t.Context(), File{Prefix: "a//"}, body(), fault.Invalid, nil},
		{"prefix that goes up", t.Context(), File{Prefix: "../"}, body(), fault.Invalid, nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(c *Config) { c.MaxFileBytes = 10 << 20 })
			got, err := f.Receive(c.ctx, c.file, c.body)
			if c.kind == fault.Internal {
				if err != nil || got.File.Prefix != "" && !strings.HasSuffix(got.File.Prefix, "/") {
					t.Fatalf("%+v, %v", got, err)
				}
				got.Discard()
			} else if fault.Of(err) != c.kind || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v; want %s of %v", err, c.kind, c.is)
			}
			f.checkEmpty(t)
		})
	}
}

// fullStore has writers that fail.
type fullStore struct{ *diskblob.Store }

func (s fullStore) Create(ctx context.Context) (blob.Writer, error) {
	w, err := s.Store.Create(ctx)
	return fullWriter{w}, err
}

type fullWriter struct{ blob.Writer }

func (fullWriter) Write([]byte) (int, error) { return 0, fault.New(fault.OutOfSpace, "full") }

func TestReceiveOnAFullDisk(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.Service.store = blob.NewHome(fullStore{f.store})
	if _, err := f.Receive(t.Context(), File{}, strings.NewReader("body")); fault.Of(err) != fault.OutOfSpace {
		t.Errorf("%v; want OutOfSpace", err)
	}
	f.checkEmpty(t)
	if _, err := f.store.SweepTemp(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
}
