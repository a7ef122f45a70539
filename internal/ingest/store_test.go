package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

func picture(t *testing.T, f format.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	img := image.NewGray(image.Rect(0, 0, 8, 6))
	var err error
	switch f {
	case format.JPEG:
		err = jpeg.Encode(&b, img, nil)
	case format.PNG:
		err = png.Encode(&b, img)
	case format.GIF:
		err = gif.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f *fixture) put(t *testing.T, file File, body []byte) (catalog.Result, *Spooled, error) {
	t.Helper()
	spooled, err := f.Receive(t.Context(), file, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	result, err := f.Store(t.Context(), spooled)
	return result, spooled, err
}

func TestCheck(t *testing.T) {
	t.Parallel()
	config := Config{MaxSide: 1000, MaxPagePixels: 500_000, MaxTotalPixels: 2_000_000, MaxPages: 10, MaxScans: 5}
	ok := format.Header{Format: format.JPEG, Width: 1000, Height: 500, Pages: 4, Bands: 5, Scans: 5, MaxPixels: 500_000}
	tests := []struct {
		limit    string // "" is within all
		max, got int64
		change   func(*format.Header)
	}{
		{"", 0, 0, func(*format.Header) {}},
		{"", 0, 0, func(h *format.Header) { h.Width, h.Height, h.Pages = 1, 1, 10 }},
		{"", 0, 0, func(h *format.Header) { h.Pages = 0 }},
		{"ingest.max_side", 1000, 1001, func(h *format.Header) { h.Width = 1001 }},
		{"ingest.max_side", 1000, 1001, func(h *format.Header) { h.Width, h.Height = 1, 1001 }},
		{"ingest.max_page_pixels", 500_000, 501_000, func(h *format.Header) { h.Height, h.Pages = 501, 1 }},
		{"ingest.max_page_pixels", 500_000, 500_001, func(h *format.Header) { h.MaxPixels = 500_001 }},
		{"ingest.max_page_pixels", 500_000, math.MaxInt64, func(h *format.Header) { h.Width, h.Height, h.MaxPixels = 1, 1, math.MaxInt64 }},
		{"ingest.max_pages", 10, 11, func(h *format.Header) { h.Width, h.Pages = 1, 11 }},
		{"ingest.max_total_pixels", 2_000_000, 2_500_000, func(h *format.Header) { h.Pages = 5 }},
		{"bands", 5, 6, func(h *format.Header) { h.Bands = 6 }},
		{"ingest.max_scans", 5, 6, func(h *format.Header) { h.Scans = 6 }},
	}
	for _, c := range tests {
		h := ok
		c.change(&h)
		err := config.check(h)
		if c.limit == "" {
			if err != nil {
				t.Errorf("%+v: %v", h, err)
			}
			continue
		}
		if e := fault.As(err); e == nil || e.Kind != fault.Unprocessable || e.Limit != c.limit || e.Max != c.max || e.Got != c.got {
			t.Errorf("%+v: %+v; want %s", h, err, c.limit)
		}
	}
}

func TestContradiction(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, media string
		is          format.Format
		refused     bool
	}{
		{"", "", format.JPEG, false},
		{"a", "", format.JPEG, false},
		{"a.jpg", "image/jpeg", format.JPEG, false},
		{"a.JPEG", "IMAGE/JPEG; q=1", format.JPEG, false},
		{"a.jfif", "image/pjpeg", format.JPEG, false},
		{"a.jpe", "image/jpg", format.JPEG, false},
		{"a.jfif", "", format.PNG, true},
		{"a.png", "image/png", format.PNG, false},
		{"a.apng", "image/apng", format.PNG, false},
		{"a.jpg", "", format.PNG, true},
		{"", "image/jpeg", format.PNG, true},
		{"a.png", "image/jpeg", format.PNG, true},
		{"a.heic", "image/heic", format.HEIC, false},
		{"a.HIF", "image/heif", format.HEIC, false},
		{"a.heif", "image/heic-sequence", format.HEIC, false},
		{"a.heic", "", format.JPEG, true},
		{"a.avif", "image/avif", format.AVIF, false},
		{"a.avif", "image/avif-sequence", format.AVIF, false},
		{"a.avif", "image/heic", format.AVIF, true},
		{"a.tif", "image/tiff", format.TIFF, false},
		{"a.tiff", "image/tiff", format.TIFF, false},
		{"a.tif", "", format.WebP, true},
		{"a.webp", "application/octet-stream", format.WebP, false},
		{"a.gif", "not a type", format.GIF, false},
		{"a.gif", "text/html", format.GIF, true},
		{"a.gif", "image/svg+xml", format.GIF, true},
		{"a.exe", "", format.GIF, true},
		{"a.jpg.exe", "", format.JPEG, true},
		{"a.exe.jpg", "", format.JPEG, false},
	}
	for _, c := range tests {
		if err := contradiction(File{Name: c.name, ContentType: c.media}, c.is); (err != nil) != c.refused || c.refused && fault.Of(err) != fault.Unsupported {
			t.Errorf("%q, %q, %s: %v; refused should be %t", c.name, c.media, c.is, err, c.refused)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.codec.result = plan.Result{Width: 8, Height: 6, Pages: 1, Alpha: true, ThumbHash: []byte{1}, BlurHash: "b", PHash: 9}
	body := picture(t, format.PNG)
	start := time.Now().Truncate(time.Millisecond)
	result, spooled, err := f.put(t, File{Owner: "me", Name: `C:\x\é.png`, Tags: []string{"t"}, Category: "c", Rule: catalog.Refuse, Replay: catalog.Replay{Token: "k", Ordinal: 3}}, body)
	if err != nil {
		t.Fatal(err)
	}
	spooled.Discard()
	img := result.Image
	want := asset.Image{
		ID: img.ID, Owner: "me", Key: "é.png", Name: "é.png", Category: "c", Tags: []string{"t"}, Created: img.Created,
		Source: asset.Source{Digest: spooled.Digest, Bytes: int64(len(body)), Header: img.Source.Header},
		Looks:  asset.Looks{Verified: true, ThumbHash: []byte{1}, BlurHash: "b", PHash: 9},
	}
	if !reflect.DeepEqual(img, want) || !img.ID.Time().Equal(img.Created) || img.Created.Before(start) || img.Created.Location() != time.UTC {
		t.Errorf("%+v", img)
	}
	if h := img.Source.Header; h.Format != format.PNG || h.Width != 8 || h.Height != 6 {
		t.Errorf("%+v", h)
	}
	if c := f.catalog.changes[0].Images[0]; c.Rule != catalog.Refuse || c.Replay.Token != "k" || c.Replay.Ordinal != 3 {
		t.Errorf("%+v", c)
	}
	if len(f.codec.jobs) != 1 || !f.codec.jobs[0].Load.Strict || !bytes.Equal(f.codec.saw, body) {
		t.Errorf("the codec was asked %+v and saw %d bytes", f.codec.jobs, len(f.codec.saw))
	}
	if info, err := f.store.Stat(t.Context(), blob.SourceName(spooled.Digest.String())); err != nil || info.Bytes != int64(len(body)) {
		t.Errorf("%+v, %v", info, err)
	}
	if temporary, stored := f.files(t); len(temporary) != 0 || len(stored) != 1 {
		t.Errorf("left behind: %q, %q", temporary, stored)
	}
}

func TestStoreByHeaderOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *Config) { c.Verify = VerifyHeader })
	result, _, err := f.put(t, File{Name: "a.gif"}, picture(t, format.GIF))
	if err != nil || len(f.codec.jobs) != 0 || !reflect.DeepEqual(result.Image.Looks, asset.Looks{}) {
		t.Errorf("%+v, %v; %d decodes", result.Image.Looks, err, len(f.codec.jobs))
	}
}

func TestStoreKeys(t *testing.T) {
	t.Parallel()
	body := picture(t, format.JPEG)
	tests := []struct {
		mode string
		file File
		want []string // %d is the digest's, %i the id
	}{
		{"name", File{Name: "a.jpg"}, []string{"a.jpg", "a~%d.jpg", "a~%i.jpg"}},
		{"name", File{Name: "dir/.a", Prefix: "p"}, []string{"p/a.jpg", "p/a~%d.jpg", "p/a~%i.jpg"}},
		{"name", File{Name: "..."}, []string{"image.jpg", "image~%d.jpg", "image~%i.jpg"}},
		{"name", File{Name: "a.jpg", Key: "k/exact"}, []string{"k/exact"}},
		{"id", File{Name: "a.png", Prefix: "p/"}, []string{"p/%i.jpg"}},
		{"id", File{Name: "a.jpg", Key: "k/exact"}, []string{"k/exact"}},
	}
	for _, c := range tests {
		f := newFixture(t, func(config *Config) { config.Keys = c.mode })
		result, spooled, err := f.put(t, c.file, body)
		if err != nil {
			t.Fatal(err)
		}
		fill := strings.NewReplacer("%d", spooled.Digest.String()[:8], "%i", result.Image.ID.String())
		for i, key := range c.want {
			c.want[i] = fill.Replace(key)
		}
		if got := f.catalog.changes[0].Images[0].Keys; !reflect.DeepEqual(got, c.want) {
			t.Errorf("keys: %s, %+v: %q; want %q", c.mode, c.file, got, c.want)
		}
	}
}

func TestStoreKeysUnderTheLongestPrefix(t *testing.T) {
	t.Parallel()
	prefix := strings.Repeat("p", asset.MaxPrefixBytes-1)
	for _, mode := range []string{"name", "id"} {
		for _, name := range []string{"", "a.jpg", strings.Repeat("é", 3000) + ".jpeg", "a." + strings.Repeat("e", 4096)} {
			f := newFixture(t, func(config *Config) { config.Keys = mode })
			if _, _, err := f.put(t, File{Name: name, Prefix: prefix}, picture(t, format.JPEG)); err != nil {
				t.Fatal(err)
			}
			for _, key := range f.catalog.changes[0].Images[0].Keys {
				if err := asset.CheckKey(key); err != nil {
					t.Errorf("%s, %.10q: %v", mode, name, err)
				}
			}
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	body := picture(t, format.JPEG)
	tests := []struct {
		name   string
		change func(*Config)
		file   File
		body   []byte
		codec  error
		kind   fault.Kind
	}{
		{"no picture", nil, File{}, []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), nil, fault.Unsupported},
		{"half a header", nil, File{}, body[:10], nil, fault.Unprocessable},
		{"over a limit", func(c *Config) { c.MaxSide = 7 }, File{}, body, nil, fault.Unprocessable},
		{"contradiction", func(c *Config) { c.Strict = true }, File{Name: "a.png"}, body, nil, fault.Unsupported},
		{"corrupt", nil, File{}, body, fault.New(fault.Unprocessable, "corrupt"), fault.Unprocessable},
		{"codec away", nil, File{}, body, fault.New(fault.Unavailable, "busy"), fault.Unavailable},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, c.change)
			f.codec.err = c.codec
			if _, _, err := f.put(t, c.file, c.body); fault.Of(err) != c.kind {
				t.Errorf("%v; want %s", err, c.kind)
			}
			if len(f.catalog.changes) != 0 {
				t.Error("the catalog was asked")
			}
			f.checkEmpty(t)
		})
	}
}

func TestStoreTakesContradictionsUnlessStrict(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	if _, _, err := f.put(t, File{Name: "a.png", ContentType: "text/html"}, picture(t, format.JPEG)); err != nil {
		t.Error(err)
	}
}

func TestStoreLeavesAnOrphanWhenTheCatalogFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.catalog.err = fault.Wrap(fault.Conflict, errors.New("x"), "taken")
	if _, _, err := f.put(t, File{Name: "a.jpg"}, picture(t, format.JPEG)); fault.Of(err) != fault.Conflict {
		t.Errorf("%v; want Conflict", err)
	}
	if temporary, stored := f.files(t); len(temporary) != 0 || len(stored) != 1 {
		t.Errorf("left behind: %q, %q", temporary, stored)
	}
}

func TestStoreNoticesThatItsBytesWereSwept(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.catalog.before = func() {
		_, stored := f.files(t)
		if _, err := f.store.Delete(t.Context(), "sources/"+strings.TrimPrefix(filepath.ToSlash(stored[0]), "sources/"), time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := f.put(t, File{Name: "a.jpg"}, picture(t, format.JPEG)); fault.Of(err) != fault.Unavailable {
		t.Errorf("%v; want Unavailable", err)
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	for orientation := range 9 {
		h := format.Header{Width: 10, Height: 20, Orientation: orientation, Alpha: true}
		w, u := 11, 22
		if orientation >= 5 {
			w, u = 22, 11
		}
		adopt(&h, plan.Result{Width: w, Height: u})
		if h.Width != 11 || h.Height != 22 || !h.Alpha {
			t.Errorf("orientation %d: %+v", orientation, h)
		}
	}
	h := format.Header{Width: 10, Height: 20}
	if adopt(&h, plan.Result{}); h.Width != 10 || h.Height != 20 {
		t.Errorf("a codec that saw nothing: %+v", h)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{Verify: "no", Keys: "uuid"}.Validate()
	for _, name := range []string{"max_file_bytes", "max_page_pixels", "max_total_pixels", "max_side", "max_pages", "max_scans", "max_files", "verify", "keys"} {
		if !strings.Contains(fmt.Sprint(err), "ingest."+name+":") {
			t.Errorf("%s is not told of: %v", name, err)
		}
	}
}
