package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/codec"
	"safelight/internal/fault"
	"safelight/internal/plan"
	"safelight/internal/recompress"
)

// transcoder is the pool as recompress sees it. It counts, and may fail.
type transcoder struct {
	made, restored atomic.Int32
	fail           func(urgency recompress.Urgency, to string) error
}

func (c *transcoder) Transcode(ctx context.Context, urgency recompress.Urgency, job plan.Transcode, source *os.File) (*os.File, error) {
	if c.fail != nil {
		if err := c.fail(urgency, job.To); err != nil {
			return nil, err
		}
	}
	if job.To == plan.ToJXL {
		c.made.Add(1)
	} else {
		c.restored.Add(1)
	}
	class := codec.Background
	if urgency != recompress.Nobody {
		class = codec.Verify
	}
	out, err := pool.Run(ctx, class, plan.Job{Transcode: &job}, source)
	if err != nil {
		return nil, err
	}
	return out.File, nil
}

// photo is a picture with edges, gradients and grain, as cameras make them.
func photo(w, h, seed int) image.Image {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			base := x*160/w + y*60/h
			if (x/23+y/31+seed)%3 == 0 {
				base += 40
			}
			n := int(r.NormFloat64() * 4)
			m.SetRGBA(x, y, color.RGBA{uint8(min(255, max(0, base+n))), uint8(min(255, max(0, 220-base+n))), uint8(min(255, max(0, 90+base/2+n))), 255})
		}
	}
	return m
}

// recompressing is a fixture with recompression on, at once.
func recompressing(t *testing.T, s setup) *fixture {
	t.Helper()
	if !slices.Contains(pool.Info().Features, "jpeg-xl-transcoding") {
		t.Skip("no libjxl")
	}
	more := s.config
	s.config = func(c *Config) {
		c.Recompress, c.RecompressAfter = RecompressJXL, 0
		if more != nil {
			more(c)
		}
	}
	f := newFixture(t, s)
	f.Deps.Sweep.Grace = -time.Hour
	return f
}

// uploadPhoto stores a photo as a JPEG.
func (f *fixture) uploadPhoto(key string, seed int) asset.Image {
	return f.store(key, jpegOf(90)(photo(240, 160, seed)))
}

func jxlName(img asset.Image) string { return blob.RecompressedName(img.Source.Digest.String()) }
func jpgName(img asset.Image) string { return blob.SourceName(img.Source.Digest.String()) }

// wantForms checks in which forms a source lies at home.
func (f *fixture) wantForms(img asset.Image, forms ...string) {
	f.t.Helper()
	var got []string
	if f.atHome(jpgName(img)) {
		got = append(got, "jpeg")
	}
	if f.atHome(jxlName(img)) {
		got = append(got, "jxl")
	}
	if !slices.Equal(got, forms) {
		f.t.Fatalf("at home as %v, expected %v", got, forms)
	}
}

// wantSource reads a source, wherever it comes from.
func (f *fixture) wantSource(img asset.Image) {
	f.t.Helper()
	if err := f.readSource(img); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) readSource(img asset.Image) error {
	r, err := f.Home.Open(f.t.Context(), jpgName(img))
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if got := asset.Digest(sha256.Sum256(data)); got != img.Source.Digest || r.Info().Bytes != img.Source.Bytes {
		return errors.New("other bytes than were uploaded")
	}
	return nil
}

func (f *fixture) recompressed(img asset.Image) {
	f.t.Helper()
	if got := did(f.must(about(Recompress, img, args{}))); !strings.Contains(got, `"before"`) {
		f.t.Fatalf("recompress: %s", got)
	}
	f.wantForms(img, "jxl")
}

func TestRecompress(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{})
	img := f.uploadPhoto("a", 1)
	f.settled() // its own task
	f.wantForms(img, "jxl")
	small, err := f.Home.Stat(t.Context(), jxlName(img))
	if err != nil || small.Bytes >= img.Source.Bytes*97/100 {
		t.Errorf("%d bytes of %d, %v", small.Bytes, img.Source.Bytes, err)
	}
	if s := f.Recompress.Stats(); s.Sources != 1 || s.Saved != img.Source.Bytes-small.Bytes || s.Restored != 0 {
		t.Errorf("%+v", s)
	}
	d, err := f.Describe(t.Context(), img)
	if err != nil || !d.Local || d.AtRest != (AtRest{Form: "jxl", Bytes: small.Bytes}) {
		t.Errorf("%+v, %v", d.AtRest, err)
	}
	f.emptyCaches(img)
	f.transcoder.restored.Store(0)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := f.readSource(img); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f.wantSource(img)
	if n := f.transcoder.restored.Load(); n != 1 {
		t.Errorf("restored %d times", n)
	}
	f.emptyCaches(img)
	if data, _ := f.served(img, "small"); len(data) == 0 {
		t.Error("no rendition")
	}
	f.wantForms(img, "jxl") // what was restored stays in the cache

	twin := f.uploadPhoto("b", 1) // as a photo that is uploaded twice
	f.wantForms(img, "jpeg", "jxl")
	f.delete(img)
	f.must(about(Sweep, asset.Image{}, args{}))
	f.wantForms(twin, "jpeg", "jxl")
	made := f.transcoder.made.Load()
	f.settled()
	f.wantForms(twin, "jxl")
	if f.transcoder.made.Load() != made {
		t.Error("it was made anew")
	}
	f.wantSource(twin)
	f.delete(twin)
	f.must(about(Sweep, asset.Image{}, args{}))
	f.wantForms(twin)
	wantKind(t, f.readSource(twin), fault.NotFound, "")
}

func TestNotRecompressed(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}})
	data := jpegOf(90)(photo(240, 160, 1))
	for name, c := range map[string]struct {
		data   []byte
		reason string
		tried  int32
	}{
		"a PNG":         {pngOf(photo(20, 20, 1)), "only JPEG", 0},
		"a tiny one":    {jpegOf(90)(photo(8, 8, 1)), "saves less than", 1},
		"half a JPEG":   {data[:len(data)/2], "bit for bit", 1},
		"only a header": {data[:len(data)/20], "bit for bit", 1},
	} {
		before := f.transcoder.made.Load()
		img := f.store(name, c.data)
		for range 2 {
			if got := did(f.must(about(Recompress, img, args{}))); !strings.Contains(got, c.reason) {
				t.Errorf("%s: %s", name, got)
			}
		}
		if n := f.transcoder.made.Load() - before; n != c.tried {
			t.Errorf("%s was tried %d times, expected %d", name, n, c.tried)
		}
		if d, err := f.Describe(t.Context(), img); err != nil || d.AtRest.Bytes != int64(len(c.data)) || (d.AtRest.Reason != "") != (c.tried > 0) {
			t.Errorf("%s: %+v, %v", name, d.AtRest, err)
		}
		f.wantSource(img)
	}
	if got := did(f.must(about(Recompress, asset.Image{}, args{}))); !strings.Contains(got, `"submitted":0`) {
		t.Error(got)
	}
	img := f.uploadPhoto("gone", 2)
	f.delete(img)
	if got := did(f.must(about(Recompress, img, args{}))); !strings.Contains(got, whyGone) {
		t.Error(got)
	}
	young := recompressing(t, setup{over: f, config: func(c *Config) { c.RecompressAfter = time.Hour }})
	img = young.uploadPhoto("young", 3)
	if _, err := young.do(about(Recompress, img, args{})); err == nil || !strings.Contains(err.Error(), "not long ago") {
		t.Error(err)
	}
	if n := f.list(Recompress); len(n) == 0 || n[0].RunAt.Before(time.Now().Add(50*time.Minute)) {
		t.Errorf("%+v", n)
	}
	off := newFixture(t, setup{over: f})
	f.recompressed(f.uploadPhoto("b", 4))
	img = off.uploadPhoto("c", 5)
	if got := did(off.must(about(Recompress, img, args{}))); !strings.Contains(got, "pipeline.recompress") {
		t.Error(got)
	}
	off.wantSource(off.uploadPhoto("b2", 4))
	if got := did(f.must(about(Recompress, asset.Image{}, args{}))); !strings.Contains(got, `"submitted":4`) { // young, b, b2 and c
		t.Error(got)
	}
}

// A codec process that fails, and a database that does, leave the source as well.
func TestRecompressFails(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}})
	img := f.uploadPhoto("a", 1)
	fail := func(on string, err error) {
		f.transcoder.fail = func(_ recompress.Urgency, to string) error {
			if to == on {
				return err
			}
			return nil
		}
	}
	for _, on := range []string{plan.ToJXL, plan.ToJPEG} {
		fail(on, fault.New(fault.Unavailable, "no codec process"))
		_, err := f.do(about(Recompress, img, args{}))
		wantKind(t, err, fault.Unavailable, "no codec process")
		fail(on, fault.New(fault.Timeout, "too long"))
		_, err = f.do(about(Recompress, img, args{}))
		wantKind(t, err, fault.Unavailable, "in the time")
		if !f.atHome(jpgName(img)) {
			t.Fatal("the source is gone")
		}
	}
	last := about(Recompress, img, args{})
	last.Attempt = provenAfter
	if got := did(f.must(last)); !strings.Contains(got, "in the time") {
		t.Error(got)
	}
	f.transcoder.fail = nil
	f.wantForms(img, "jpeg")
	if got := did(f.must(about(Recompress, img, args{}))); !strings.Contains(got, "in the time") {
		t.Error("it was tried again:", got)
	}
}

// damage changes a byte of a stored file.
func (f *fixture) damageAtHome(name string) {
	f.t.Helper()
	r, err := f.Home.Store.Open(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	file, err := r.(blob.Filer).File()
	_ = r.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	path, err := filepath.EvalSymlinks(fmt.Sprint("/proc/self/fd/", file.Fd()))
	_ = file.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := len(data) / 2; i < len(data)/2+40; i++ {
		data[i] ^= 0xff
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func TestDamagedJXL(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}, destinations: []string{"x"}})
	img := f.uploadPhoto("a", 1)
	f.recompressed(img)
	other, err := f.Home.Store.Open(t.Context(), jxlName(img))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := io.ReadAll(other)
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()

	f.emptyCaches(img)
	f.damageAtHome(jxlName(img))
	wantKind(t, f.readSource(img), fault.Internal, "the stored bytes are damaged")
	again := f.uploadPhoto("b", 1)
	f.wantSource(img)
	f.recompressed(again) // made anew
	f.emptyCaches(img)
	f.wantSource(img)

	// A sound file that holds another picture.
	wrong := f.uploadPhoto("w", 2)
	f.recompressed(wrong)
	f.emptyCaches(wrong)
	w, err := f.Home.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(foreign); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), jxlName(wrong)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, f.readSource(wrong), fault.Internal, "the stored bytes are damaged")

	f.must(about(Publish, img, args{Destination: "x"}))
	data, err := os.ReadFile(f.object(img, "", "x"))
	if err != nil || asset.Digest(sha256.Sum256(data)) != img.Source.Digest || !strings.HasSuffix(f.object(img, "", "x"), ".jpg") {
		t.Errorf("it is not the JPEG that was published: %d bytes, %v", len(data), err)
	}
	f.damageAtHome(jxlName(img))
	f.emptyCaches(img)
	f.wantSource(img) // from the destination
}

// Without libjxl sources that are recompressed can't be had, and are not missing.
func TestWithoutLibjxl(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}, destinations: []string{"x"}})
	img := f.uploadPhoto("a", 1)
	f.recompressed(img)
	f.emptyCaches(img)
	f.transcoder.fail = func(recompress.Urgency, string) error {
		return fault.New(fault.Unavailable, "libjxl is not installed")
	}
	wantKind(t, f.readSource(img), fault.Unavailable, "libjxl")
	if _, err := f.do(about(Publish, img, args{Destination: "x"})); err == nil || fault.Of(err) != fault.Unavailable {
		t.Errorf("published without its bytes: %v", err)
	}
	f.transcoder.fail = nil
	f.must(about(Publish, img, args{Destination: "x"}))
	f.transcoder.fail = func(recompress.Urgency, string) error {
		return fault.New(fault.Unavailable, "libjxl is not installed")
	}
	f.emptyCaches(img)
	f.wantSource(img) // from the destination
	f.CanRecompress = false
	if got := did(f.must(about(Recompress, f.uploadPhoto("b", 2), args{}))); !strings.Contains(got, "libjxl") {
		t.Error(got)
	}
	f.transcoder.fail = func(urgency recompress.Urgency, to string) error {
		if urgency == recompress.Reader {
			return fault.New(fault.Timeout, "busy")
		}
		return nil
	}
	if err := os.Remove(f.object(img, "", "x")); err != nil {
		t.Fatal(err)
	}
	f.emptyCaches(img)
	f.wantSource(img) // with more time
}

func TestExpireRecompressed(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}, destinations: []string{"x"}})
	img := f.uploadPhoto("a", 1)
	f.recompressed(img)
	expire := func() int {
		t.Helper()
		done, err := f.Publish.Expire(t.Context(), img, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return len(done.Removed)
	}
	if n := expire(); n != 0 {
		t.Fatalf("%d copies removed before they are published", n)
	}
	f.must(about(Publish, img, args{Destination: "x"}))
	if done, err := f.Publish.Expire(t.Context(), img, time.Now().Add(-time.Hour)); err != nil || len(done.Kept) != 1 || !done.Kept[0].Waits() {
		t.Fatalf("%+v, %v", done, err)
	}
	if n := expire(); n != 1 {
		t.Fatalf("%d copies removed", n)
	}
	f.wantForms(img)
	f.emptyCaches(img)
	f.wantSource(img)
	if got := did(f.must(about(Recompress, img, args{}))); !strings.Contains(got, "not in the home store") {
		t.Error(got)
	}
	second := f.uploadPhoto("b", 1)
	f.wantForms(img, "jpeg")
	if n := expire(); n != 0 {
		t.Fatalf("%d copies removed that another image needs", n)
	}
	f.recompressed(img)
	third := f.uploadPhoto("c", 1)
	f.wantForms(img, "jpeg", "jxl")
	f.must(about(Publish, second, args{Destination: "x"}))
	f.must(about(Publish, third, args{Destination: "x"}))
	if n := expire(); n != 2 {
		t.Fatalf("%d copies removed", n)
	}
	f.wantForms(img)
	f.emptyCaches(img)
	f.wantSource(third)
}
