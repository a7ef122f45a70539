package scrub

import (
	"bytes"
	"encoding/hex"
	"image"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"safelight/internal/fault"
	"safelight/internal/format"
)

func plan(t testing.TB, c withFormat) (patches []Patch, patched []byte) {
	t.Helper()
	size := int64(len(c.file))
	patches, err := Plan(bytes.NewReader(c.file), size, c.format)
	if err != nil {
		t.Fatal(err)
	}
	patched, err = io.ReadAll(NewReader(bytes.NewReader(c.file), size, patches))
	if err != nil || len(patched) != len(c.file) {
		t.Fatalf("%d bytes of %d: %v", len(patched), size, err)
	}
	return patches, patched
}

func located(t testing.TB) map[string]withFormat {
	more := "http://ns.adobe.com/xmp/extension/\x00" + strings.Repeat("5", 32) + "\x00\x00\x01\x00\x00\x00\x00\x00"
	raw := "\nexif\n      99\n" + hex.EncodeToString(cat("Exif\x00\x00", exif(be, true)))
	half := len(gpsXMP) / 2
	place := iim(city, city+city, city)
	resource := resources(place)
	app1 := func(b []byte) []byte { return segment(0xE1, "Exif\x00\x00", b) }
	return map[string]withFormat{
		"jpeg exif":         {format.JPEG, jpegWith(t, app1(exif(le, true)))},
		"jpeg exif only":    {format.JPEG, jpegWith(t, app1(tiffWith(be, true)))},
		"jpeg xmp":          {format.JPEG, jpegWith(t, segment(0xE1, "http://ns.adobe.com/xap/1.0/\x00", gpsXMP))},
		"jpeg xmp city":     {format.JPEG, jpegWith(t, segment(0xE1, "http://ns.adobe.com/xap/1.0/\x00", cityXMP))},
		"jpeg extended xmp": {format.JPEG, jpegWith(t, segment(0xE1, more, gpsXMP[:half]), segment(0xE1, more, gpsXMP[half:]))},
		"jpeg iptc":         {format.JPEG, jpegWith(t, segment(0xED, "Photoshop 3.0\x00", resource))},
		"jpeg iptc split":   {format.JPEG, jpegWith(t, segment(0xED, "Photoshop 3.0\x00", resource[:33]), segment(0xED, "Photoshop 3.0\x00", resource[33:]))},
		"jpeg second":       {format.JPEG, cat(jpegWith(t), jpegWith(t, app1(exif(be, true))))},
		"png exif":          {format.PNG, pngWith(t, chunk("eXIf", exif(be, true)))},
		"png xmp":           {format.PNG, pngWith(t, chunk("iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00", gpsXMP))},
		"png packed xmp":    {format.PNG, pngWith(t, chunk("iTXt", "XML:com.adobe.xmp\x00\x01\x00en\x00\x00", deflate(cityXMP)))},
		"png raw profile":   {format.PNG, pngWith(t, chunk("tEXt", "Raw profile type exif\x00", raw))},
		"png packed raw":    {format.PNG, pngWith(t, chunk("zTXt", "Raw profile type APP1\x00\x00", deflate([]byte(raw))))},
		"png keyword":       {format.PNG, pngWith(t, chunk("tEXt", "exif:GPSLatitude\x00", latitude))},
		"gif xmp":           {format.GIF, gifWith(t, gpsXMP)},
		"webp exif":         {format.WebP, webpWith(riffChunk("EXIF", exif(le, true)))},
		"webp exif jpeg":    {format.WebP, webpWith(riffChunk("EXIF", cat("Exif\x00\x00", exif(le, true))))},
		"webp xmp":          {format.WebP, webpWith(riffChunk("XMP ", cityXMP))},
		"tiff":              {format.TIFF, tiffPicture(le, true)},
		"tiff xmp":          {format.TIFF, tiffPicture(be, true, field{0x2BC, 1, uint32(len(gpsXMP)), gpsXMP})},
		"tiff iptc":         {format.TIFF, tiffPicture(be, false, field{0x83BB, 7, uint32(len(place)), place})},
		"tiff photoshop":    {format.TIFF, tiffPicture(be, false, field{0x8649, 1, uint32(len(resource)), resource})},
		"avif idat":         {format.AVIF, heifWith("avif", true, exif(le, true), []byte("none"))},
		"avif mdat":         {format.AVIF, heifWith("avif", false, exif(be, true), gpsXMP)},
		"heic xmp":          {format.HEIC, heifWith("heic", true, exif(be, false), cityXMP)},
	}
}

func TestPlan(t *testing.T) {
	for name, c := range located(t) {
		t.Run(name, func(t *testing.T) {
			before, err := format.Probe(bytes.NewReader(c.file), int64(len(c.file)))
			if err != nil {
				t.Fatal(err)
			}
			patches, patched := plan(t, c)
			if len(patches) == 0 {
				t.Fatal("no patches")
			}
			for _, s := range append(secrets, hex.EncodeToString([]byte(coordinate))) {
				if bytes.Contains(patched, []byte(s)) {
					t.Errorf("%q is still there", s)
				}
			}
			after, err := format.Probe(bytes.NewReader(patched), int64(len(patched)))
			if err != nil || after.Location {
				t.Errorf("%+v, %v", after, err)
			}
			if before.Location = false; after != before {
				t.Errorf("header was %+v and is %+v", before, after)
			}
			if again, _ := plan(t, withFormat{c.format, patched}); again != nil {
				t.Errorf("a scrubbed file is patched again: %v", again)
			}
			if bytes.Contains(c.file, []byte(maker)) != bytes.Contains(patched, []byte(maker)) {
				t.Error("the maker's name is gone")
			}
			if decoded := samePixels(t, c.file, patched); !decoded && c.format <= format.PNG {
				t.Error("the standard library cannot read the file")
			}
		})
	}
}

// samePixels compares what the standard library decodes, where it can. Its
// PNG decoder checks the checksums of chunks that it skips, too.
func samePixels(t *testing.T, before, after []byte) (decoded bool) {
	t.Helper()
	a, kind, err := image.Decode(bytes.NewReader(before))
	if err != nil {
		return false
	}
	b, _, err := image.Decode(bytes.NewReader(after))
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if a.Bounds() != b.Bounds() {
		t.Fatalf("%v became %v", a.Bounds(), b.Bounds())
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				t.Fatalf("pixel %d,%d differs", x, y)
			}
		}
	}
	return true
}

func TestPlanNothing(t *testing.T) {
	title := iim()
	for name, c := range map[string]withFormat{
		"jpeg": {format.JPEG, jpegWith(t, segment(0xE1, "Exif\x00\x00", exif(le, false)), segment(0xED, "Photoshop 3.0\x00", resources(title)))},
		"png":  {format.PNG, pngWith(t, chunk("eXIf", exif(be, false)), chunk("tEXt", "Title\x00Nowhere"))},
		"gif":  {format.GIF, gifWith(t, xmp(""))},
		"webp": {format.WebP, webpWith(riffChunk("XMP ", xmp("")))},
		"tiff": {format.TIFF, tiffPicture(le, false)},
		"heic": {format.HEIC, heifWith("heic", true, exif(be, false), xmp(""))},
	} {
		if patches, _ := plan(t, c); patches != nil {
			t.Errorf("%s: %v", name, patches)
		}
	}
}

// TestDirectory looks at what becomes of the pointer: the entries around it
// stay, in order.
func TestDirectory(t *testing.T) {
	file := tiffPicture(le, true, field{0x112, 3, 1, le.AppendUint16(nil, 6)})
	tail := tiffWith(le, true, field{0x10F, 2, 2, []byte("a\x00")}, field{0x8825, 4, 1, le.AppendUint32(nil, 8)}, field{0xC4A5, 7, 2, []byte("zz")})
	for _, c := range []struct {
		file []byte
		want []uint16
	}{
		{file, []uint16{0x100, 0x101, 0x102, 0x106, 0x111, 0x117, 0x112}},
		{tail, []uint16{0x10F, 0xC4A5}}, // two pointers, one in the middle
		{tiffWith(le, true), []uint16{0x128}},
	} {
		p := planner{r: bytes.NewReader(c.file), size: int64(len(c.file))}
		if err := p.exif(format.Block{Kind: format.ExifBlock, Data: format.Extents{{Length: p.size}}}); err != nil {
			t.Fatal(err)
		}
		var got []uint16
		r := NewReader(p.r, p.size, merge(p.patches))
		if err := format.WalkTIFF(r, p.size, func(d *format.Directory) error {
			for _, e := range d.Entries {
				got = append(got, e.Tag)
			}
			return nil
		}); err != nil || len(got) != len(c.want) {
			t.Fatalf("%x, %v; want %x", got, err, c.want)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%x; want %x", got, c.want)
			}
		}
	}
}

func TestPlanErrors(t *testing.T) {
	if _, err := Plan(strings.NewReader("<svg/>"), 6, format.Unknown); fault.Of(err) != fault.Unsupported {
		t.Errorf("unlisted: %v", err)
	}
	if _, err := Plan(strings.NewReader("\xff\xd8\xff"), 3, format.JPEG); fault.Of(err) != fault.Unprocessable {
		t.Errorf("corrupt: %v", err)
	}
	huge := webpWith(riffChunk("XMP ", cat(gpsXMP, bytes.Repeat([]byte{' '}, MaxPatchBytes))))
	if _, err := Plan(bytes.NewReader(huge), int64(len(huge)), format.WebP); fault.Of(err) != fault.Unprocessable {
		t.Errorf("too much: %v", err)
	}
}

func TestMerge(t *testing.T) {
	got := merge([]Patch{{10, []byte("abcd")}, {2, []byte("xy")}, {12, []byte("Z")}, {4, []byte("w")}, {9, nil}})
	if len(got) != 2 || got[0].Offset != 2 || string(got[0].Bytes) != "xyw" || got[1].Offset != 9 && got[1].Offset != 10 || !bytes.HasSuffix(got[1].Bytes, []byte("abZd")) {
		t.Errorf("%v", got)
	}
}

func TestReader(t *testing.T) {
	file := []byte("0123456789abcdefghij")
	patches := []Patch{{0, []byte("AB")}, {5, []byte("CDE")}, {18, []byte("YZ")}}
	want := []byte("AB234CDE89abcdefghYZ")
	r := NewReader(bytes.NewReader(file), int64(len(file)), patches)
	if err := iotest.TestReader(r, want); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for off := range want {
		wg.Go(func() {
			for n := range len(want) - off {
				b := make([]byte, n)
				if _, err := r.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b, want[off:off+n]) {
					t.Errorf("at %d: %q, %v", off, b, err)
				}
			}
		})
	}
	wg.Wait()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Range", "bytes=4-6")
	rec := httptest.NewRecorder()
	http.ServeContent(rec, req, "", time.Time{}, r)
	if rec.Code != http.StatusPartialContent || rec.Body.String() != "4CD" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

func TestCorpus(t *testing.T) {
	dir := os.Getenv("SAFELIGHT_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("no corpus at %s (SAFELIGHT_CORPUS names another place): %v", dir, err)
	}
	found := 0
	for _, e := range entries {
		file, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		before, err := format.Probe(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			continue
		}
		patches, patched := plan(t, withFormat{before.Format, file})
		if before.Location {
			found++
			t.Log(e.Name(), len(patches))
		}
		if before.Location && patches == nil {
			t.Errorf("%s keeps its location", e.Name())
		}
		if patches != nil && !strings.Contains(e.Name(), "bomb") {
			samePixels(t, file, patched)
		}
	}
	for _, name := range []string{"exif-samples--DSCN0010.jpg", "exif-samples--DSCN0012.jpg", "exif-samples--DSCN0021.jpg", "gen--exif-gps-eiffel.jpg"} {
		file, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if patches, _ := plan(t, withFormat{format.JPEG, file}); patches == nil {
			t.Errorf("%s was not patched", name)
		}
	}
}

func FuzzPlan(f *testing.F) {
	for _, c := range located(f) {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		size := int64(len(b))
		kind := format.Sniff(b)
		patches, err := Plan(bytes.NewReader(b), size, kind)
		if err != nil {
			if k := fault.Of(err); k != fault.Unprocessable && k != fault.Unsupported {
				t.Errorf("%v", err)
			}
			return
		}
		end, total := int64(0), 0
		for _, p := range patches {
			if p.Offset < end || len(p.Bytes) == 0 {
				t.Fatalf("patch at %d of %d bytes after %d", p.Offset, len(p.Bytes), end)
			}
			end = p.Offset + int64(len(p.Bytes))
			total += len(p.Bytes)
		}
		if end > size || total > MaxPatchBytes {
			t.Fatalf("patches reach to %d of %d, and are %d bytes", end, size, total)
		}
		patched := NewReader(bytes.NewReader(b), size, patches)
		if h, err := format.Probe(patched, size); err != nil || h.Location {
			t.Errorf("%+v, %v", h, err)
		}
	})
}
