package e2e

import (
	"bytes"
	"testing"

	"safelight/internal/format"
)

// jxlSize reads the size that a JPEG XL file gives itself.
func jxlSize(t *testing.T, b []byte) (widthPx, heightPx int) {
	t.Helper()
	h, err := format.Probe(bytes.NewReader(b), int64(len(b)))
	if err != nil || h.Format != format.JXL {
		t.Fatalf("%d bytes are %s: %v", len(b), h.Format, err)
	}
	return h.Width, h.Height
}

// TestJXL asks for JPEG XL by name and by Accept, and does not get it in.
func TestJXL(t *testing.T) {
	s := start(t, "", "SAFELIGHT_RENDER_AUTO_FORMATS=[jxl, webp]")
	s.upload(file{name: "photo.jpg", bytes: jpegOf(t, scene(200, 150, 1))}, file{name: "film.gif", bytes: movie(t, 40, 30, 4)})
	first := s.get("/images/photo.jpg?w=100&format=jxl")
	if first.status == 415 {
		if !contains(first.body, "jxl") {
			t.Errorf("the refusal names no format: %s", first.body)
		}
		if a := s.get("/images/photo.jpg?w=100&format=auto", "Accept", "image/jxl,image/webp"); a.header.Get("Content-Type") != "image/webp" {
			t.Errorf("auto chose %s", a.header.Get("Content-Type"))
		}
		t.Skip("this installation's libvips can't write JPEG XL")
	}
	for _, query := range []string{"", "&q=50", "&lossless=1", "&strip=0", "&gray=1"} {
		a := s.get("/images/photo.jpg?w=100&format=jxl" + query)
		if a.status != 200 || a.header.Get("Content-Type") != "image/jxl" {
			t.Fatalf("%s was answered %d %s", query, a.status, a.body)
		}
		if w, h := jxlSize(t, a.body); w != 100 || h != 75 {
			t.Errorf("%s is %d×%d px", query, w, h)
		}
	}
	for range 3 { // made, from the cache, prepared
		for accept, want := range map[string]string{
			"image/jxl,image/avif,image/webp,*/*;q=0.8": "image/jxl", "image/webp,*/*": "image/webp", "image/avif": "image/jpeg",
			"image/jxl;q=0,image/webp": "image/webp", "image/jxl": "image/jxl", "": "image/jpeg",
		} {
			a := s.get("/images/photo.jpg?w=90&format=auto", "Accept", accept)
			if a.header.Get("Content-Type") != want || a.header.Get("Vary") != "Accept" {
				t.Errorf("Accept %q got %s, Vary %q", accept, a.header.Get("Content-Type"), a.header.Get("Vary"))
			}
		}
	}
	if a := s.get("/images/film.gif?w=20&format=auto", "Accept", "image/jxl,image/webp"); a.header.Get("Content-Type") != "image/webp" {
		t.Errorf("an animation became %s", a.header.Get("Content-Type"))
	}
	for name, b := range map[string][]byte{"whole.jxl": first.body, "half.jxl": first.body[:9], "named.jpg": first.body} {
		if a, _ := s.upload(file{name: name, bytes: b}); a.status != 415 || !contains(a.body, "image/jxl") {
			t.Errorf("the upload of %s was answered %d %s", name, a.status, a.body)
		}
	}
}

// TestJXLIsNotTheDefault has clients that accept JPEG XL get what others get.
func TestJXLIsNotTheDefault(t *testing.T) {
	s := start(t, "")
	s.upload(file{name: "photo.jpg", bytes: jpegOf(t, scene(200, 150, 1))})
	for range 2 {
		a := s.get("/images/photo.jpg?w=100&format=auto", "Accept", "image/jxl,image/webp")
		if a.header.Get("Content-Type") != "image/webp" {
			t.Errorf("got %s", a.header.Get("Content-Type"))
		}
	}
}
