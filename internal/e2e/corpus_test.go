package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// row is what the manifest says of one file.
type row struct {
	name, kind, expected string
	accept, reject       bool // which answers are right
	width, height, pages int  // upright, where it is accepted
	alpha                bool
	loader               string
}

var uprightSize = regexp.MustCompile(`(\d+)x(\d+)`)

// manifest reads what each file of the corpus must get.
func manifest(t testing.TB, dir string) []row {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	records, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := make(map[string]int)
	for i, name := range records[0] {
		column[name] = i
	}
	var rows []row
	for _, rec := range records[1:] {
		at := func(name string) string { return rec[column[name]] }
		rows = append(rows, parseRow(at))
	}
	return rows
}

func parseRow(at func(string) string) row {
	r := row{name: at("file"), kind: at("kind"), expected: at("expected"), alpha: at("alpha") == "1", loader: at("loader")}
	says := strings.ToLower(r.expected)
	r.accept = strings.Contains(says, "accept")
	r.reject = strings.Contains(says, "reject") || strings.Contains(says, "4xx") || strings.Contains(says, "415") || strings.Contains(says, "422") ||
		strings.Contains(says, "sanitised")
	if strings.HasPrefix(says, "415") || strings.Contains(says, "otherwise 415") {
		r.accept, r.reject = false, true // none of the optional formats is claimed
	}
	if strings.Contains(says, "first n frames") || strings.Contains(says, "first page") {
		r.accept = true
	}
	r.pages, _ = strconv.Atoi(at("pages"))
	size := uprightSize.FindStringSubmatch(r.expected)
	if size == nil {
		size = uprightSize.FindStringSubmatch(at("dims"))
	}
	if size != nil {
		r.width, _ = strconv.Atoi(size[1])
		r.height, _ = strconv.Atoi(size[2])
	}
	return r
}

// TestCorpus sends each file of the corpus through the server.
func TestCorpus(t *testing.T) {
	dir := corpus(t)
	s := start(t, "")
	for _, r := range manifest(t, dir) {
		t.Run(r.name, func(t *testing.T) {
			s.t = t
			bytes, err := os.ReadFile(filepath.Join(dir, r.name))
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			a, files := s.upload(file{name: r.name, bytes: bytes})
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("the answer took %s", d)
			}
			s.alive()
			checkUploaded(t, s, r, a, files)
		})
	}
	s.t = t
	if a := s.get("/healthz"); a.status != 200 {
		t.Errorf("after the corpus /healthz answers %d", a.status)
	}
}

func checkUploaded(t *testing.T, s *server, r row, a answer, files []stored) {
	switch {
	case a.status == 201:
		if !r.accept {
			t.Fatalf("accepted, but the manifest says: %s", r.expected)
		}
	case a.status/100 == 4:
		if !r.reject {
			t.Fatalf("refused with %d %s, but the manifest says: %s", a.status, a.body, r.expected)
		}
		return
	default:
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	f := files[0]
	if r.width > 0 && (f.Width != r.width || f.Height != r.height) {
		t.Errorf("the size is %d×%d, the manifest says %d×%d (%s)", f.Width, f.Height, r.width, r.height, r.expected)
	}
	if r.pages > 0 && r.kind == "valid" && f.Pages != r.pages {
		t.Errorf("%d pages; the manifest says %d", f.Pages, r.pages)
	}
	var meta struct{ Alpha bool }
	s.get("/v1/images/"+f.ID).json(t, &meta)
	if r.kind == "valid" && meta.Alpha != r.alpha {
		t.Errorf("alpha is %v; the manifest says %v", meta.Alpha, r.alpha)
	}
	checkRendition(t, s, f)
}

// markers must not be found in any rendition: they are what hostile files
// carry beside the picture, and what tells where and with what it was taken.
var markers = []string{"<script", "<?php", "%PDF", "PK\x03\x04", "Exif\x00\x00", "http://ns.adobe.com/xap", "eXIf", "GPS"}

func checkRendition(t *testing.T, s *server, f stored) {
	t.Helper()
	begin := time.Now()
	got := s.get(f.URL + "?w=64&h=64&format=png")
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("the rendition took %s", d)
	}
	if got.status != 200 {
		t.Fatalf("the rendition was answered %d %s", got.status, got.body)
	}
	img, err := png.Decode(bytes.NewReader(got.body))
	if err != nil {
		t.Fatalf("the rendition is no PNG: %v", err)
	}
	size := img.Bounds().Size()
	scale := min(1, 64/float64(f.Width), 64/float64(f.Height))
	if w, h := float64(f.Width)*scale, float64(f.Height)*scale; abs(w-float64(size.X)) > 1 || abs(h-float64(size.Y)) > 1 {
		t.Errorf("the rendition is %v of %d×%d", size, f.Width, f.Height)
	}
	for _, format := range []string{"png", "jpeg"} {
		a := s.get(f.URL + "?w=48&h=48&format=" + format)
		for _, m := range markers {
			if bytes.Contains(a.body, []byte(m)) {
				t.Errorf("the %s rendition contains %q", format, m)
			}
		}
	}
	a := s.get(f.URL)
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Content-Disposition": "filename"} {
		if !strings.Contains(a.header.Get(name), want) {
			t.Errorf("the original has %s: %q", name, a.header.Get(name))
		}
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "image/") || a.status != http.StatusOK {
		t.Errorf("the original is answered %d as %s", a.status, a.header.Get("Content-Type"))
	}
}

func abs(v float64) float64 { return max(v, -v) }

// TestOrientationIsApplied compares the eight orientations of one picture: all
// must look the same.
func TestOrientationIsApplied(t *testing.T) {
	dir := corpus(t)
	s := start(t, "")
	var first []byte
	for i := 1; i <= 8; i++ {
		raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("sharp--Landscape_%d.jpg", i)))
		if err != nil {
			t.Fatal(err)
		}
		_, files := s.upload(file{name: fmt.Sprintf("l%d.jpg", i), bytes: raw})
		img := decoded(t, s.get(files[0].URL+"?w=60&h=45&fit=fill&format=png&gray=1"))
		var pixels []byte
		for y := range 45 {
			for x := range 60 {
				r, _, _, _ := img.At(x, y).RGBA()
				pixels = append(pixels, uint8(r>>8))
			}
		}
		if first == nil {
			first = pixels
			continue
		}
		var total int
		for j := range pixels {
			total += max(int(pixels[j])-int(first[j]), int(first[j])-int(pixels[j]))
		}
		if mean := float64(total) / float64(len(pixels)); mean > 6 {
			t.Errorf("orientation %d differs from orientation 1 by %.1f levels a pixel", i, mean)
		}
	}
}

// TestLocationNeverLeaves looks for GPS tags in what is served of files that
// have them.
func TestLocationNeverLeaves(t *testing.T) {
	dir := corpus(t)
	s := start(t, "")
	for _, name := range []string{"gen--exif-gps-eiffel.jpg", "exif-samples--DSCN0010.jpg", "exif-samples--DSCN0012.jpg", "exif-samples--DSCN0021.jpg"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		_, files := s.upload(file{name: name, bytes: raw})
		served := s.get(files[0].URL)
		if len(served.body) != len(raw) || bytes.Equal(served.body, raw) {
			t.Errorf("%s: the original was served with its location", name)
		}
		if again, _ := s.upload(file{name: "again-" + name, bytes: served.body}); again.status != 201 {
			t.Errorf("%s: what was served is no longer a picture: %s", name, again.body)
		}
		if a := s.get(files[0].URL, "Range", "bytes=0-99"); a.status != 206 || !bytes.Equal(a.body, served.body[:100]) {
			t.Errorf("%s: a part of the original was answered %d", name, a.status)
		}
	}
}
