package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"testing"
	"time"
)

func TestUploadAndRender(t *testing.T) {
	s := start(t, "")
	original := jpegOf(t, scene(1200, 800, 1))
	a, files := s.upload(file{name: "test.jpg", bytes: original})
	if a.status != 201 || len(files) != 1 {
		t.Fatalf("upload answered %d: %s", a.status, a.body)
	}
	f := files[0]
	if f.Key != "test.jpg" || f.URL != "/images/test.jpg" || f.Width != 1200 || f.Height != 800 || f.Format != "jpeg" ||
		f.Pages != 1 || f.Bytes != int64(len(original)) || f.SHA256 != fmt.Sprintf("%x", sha256.Sum256(original)) || f.Tasks == nil {
		t.Errorf("upload answered %+v", f)
	}
	if got := s.get("/images/test.jpg"); !bytes.Equal(got.body, original) || got.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("the original came back as %d, %d bytes of %s", got.status, len(got.body), got.header.Get("Content-Type"))
	}
	for _, path := range []string{"/images/test.jpg?w=500", "/image/" + f.ID + "?w=500"} {
		first, again := s.get(path), s.get(path)
		if size := decoded(t, first).Bounds().Size(); size.X != 500 || size.Y != 333 {
			t.Errorf("%s is %v", path, size)
		}
		if !bytes.Equal(first.body, again.body) || first.header.Get("Etag") != again.header.Get("Etag") {
			t.Errorf("%s changed from one request to the next", path)
		}
		if again.header.Get("Cache-Status") != "Safelight; hit; detail=memory" {
			t.Errorf("%s was not kept in memory: %s", path, again.header.Get("Cache-Status"))
		}
		for name, want := range first.header {
			if name == "Date" || name == "X-Request-Id" || name == "Cache-Status" {
				continue
			}
			if fmt.Sprint(want) != fmt.Sprint(again.header[name]) {
				t.Errorf("%s: the header %s was %v and is %v", path, name, want, again.header[name])
			}
		}
		etag := first.header.Get("Etag")
		if got := s.get(path, "If-None-Match", etag); got.status != 304 || len(got.body) != 0 || got.header.Get("Etag") != etag {
			t.Errorf("%s with If-None-Match answered %d", path, got.status)
		}
		if got := s.get(path, "Range", "bytes=10-19"); got.status != 206 || !bytes.Equal(got.body, first.body[10:20]) {
			t.Errorf("%s with Range answered %d, %d bytes", path, got.status, len(got.body))
		}
		if got := s.do(http.MethodHead, path, nil); got.status != 200 || got.header.Get("Content-Length") != fmt.Sprint(len(first.body)) {
			t.Errorf("HEAD %s answered %d, Content-Length %s", path, got.status, got.header.Get("Content-Length"))
		}
	}
}

func TestSomeFilesFail(t *testing.T) {
	s := start(t, "")
	good := pngOf(t, scene(40, 30, 2))
	a, files := s.upload(file{name: "a.png", bytes: good}, file{name: "b.svg", bytes: []byte("<svg xmlns='http://www.w3.org/2000/svg'/>")},
		file{name: "c.jpg", bytes: good[:60]}, file{name: "d.png", bytes: good})
	if a.status != 207 || len(files) != 4 {
		t.Fatalf("upload answered %d: %s", a.status, a.body)
	}
	if files[0].Error != nil || files[3].Error != nil {
		t.Errorf("good files were refused: %s", a.body)
	}
	if e := files[1].Error; e == nil || e.Status != 415 || files[1].Name != "b.svg" {
		t.Errorf("the SVG was answered %+v", files[1])
	}
	if e := files[2].Error; e == nil || e.Status != 422 {
		t.Errorf("the broken PNG was answered %+v", files[2])
	}
	if files[0].SHA256 != files[3].SHA256 || files[0].ID == files[3].ID || files[0].Key == files[3].Key {
		t.Errorf("the same bytes twice are one source and two images, not %+v and %+v", files[0], files[3])
	}
	if a, _ := s.upload(file{name: "b.svg", bytes: []byte("<svg/>")}); a.status != 415 {
		t.Errorf("a request with only a bad file was answered %d", a.status)
	}
	if a, _ := s.upload(file{field: "tags", bytes: []byte("x")}); a.status != 400 {
		t.Errorf("a request without files was answered %d", a.status)
	}
}

// TestLinesComeBeforeTheBodyEnds holds back the second file until the first
// one's line has arrived.
func TestLinesComeBeforeTheBodyEnds(t *testing.T) {
	s := start(t, "")
	pr, pw := io.Pipe()
	w := multipart.NewWriter(pw)
	req, err := http.NewRequest(http.MethodPost, s.url+"/upload", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Accept", "application/x-ndjson")
	send := func(name string) {
		part, _ := w.CreateFormFile("image", name)
		_, _ = part.Write(pngOf(t, scene(20, 20, 3)))
	}
	arrived := make(chan struct{})
	go func() {
		send("one.png")
		_ = w.WriteField("note", "the boundary after the file is what ends it")
		<-arrived
		send("two.png")
		_ = w.Close()
		_ = pw.Close()
	}()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	scan := bufio.NewScanner(res.Body)
	var got []map[string]any
	for scan.Scan() {
		var line map[string]any
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if got = append(got, line); len(got) == 1 {
			close(arrived)
		}
	}
	if len(got) != 3 || got[0]["key"] != "one.png" || got[1]["key"] != "two.png" || got[2]["summary"] == nil {
		t.Errorf("the lines were %v", got)
	}
}

func TestManyFilesInOneRequest(t *testing.T) {
	s := start(t, "")
	n := 10_000
	if raceFlags != nil { // ten times slower
		n = 1500
	}
	files := make([]file, n)
	for i := range files {
		files[i] = file{name: fmt.Sprintf("%05d.png", i), bytes: pngOf(t, scene(8, 8, uint64(i)))}
	}
	a, got := s.upload(files...)
	if a.status != 201 || len(got) != n {
		t.Fatalf("%d files were answered %d with %d entries", n, a.status, len(got))
	}
	for i, f := range got {
		if f.Key != files[i].name {
			t.Fatalf("entry %d is %+v: the order of the files is not kept", i, f)
		}
	}
	if a, got := s.upload(files[:3]...); a.status != 201 || len(got) != 3 {
		t.Errorf("the same names again were answered %d", a.status)
	}
}

func TestFields(t *testing.T) {
	s := start(t, "")
	img := pngOf(t, scene(10, 10, 4))
	text := func(name, value string) file { return file{field: name, bytes: []byte(value)} }
	a, got := s.upload(text("prefix", "trips/2026/"), text("tags", "sea, sun"), file{name: "a.png", bytes: img},
		text("key", "exact/name.png"), file{name: "b.png", bytes: img}, file{name: "../../etc/passwd", bytes: img})
	if a.status != 201 {
		t.Fatalf("answered %d: %s", a.status, a.body)
	}
	for i, want := range []string{"trips/2026/a.png", "exact/name.png", "trips/2026/passwd.png"} {
		if got[i].Key != want {
			t.Errorf("file %d got the key %q, not %q", i, got[i].Key, want)
		}
	}
	var list struct {
		Images []struct{ Key string } `json:"images"`
	}
	s.get("/v1/images?tag=sun&prefix=trips/").json(t, &list)
	if len(list.Images) != 2 {
		t.Errorf("listing by tag and prefix gave %+v", list)
	}
	if a, _ := s.upload(file{name: "c.png", bytes: img}, text("tags", "late")); a.status != 201 || !bytes.Contains(a.body, []byte("no file came after tags")) {
		t.Errorf("fields after the last file were answered %d %s", a.status, a.body)
	}
	if a, _ := s.upload(text("key", "../x"), file{name: "a.png", bytes: img}); a.status != 400 {
		t.Errorf("an unsafe key was answered %d: %s", a.status, a.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	s := start(t, "")
	one, two := pngOf(t, scene(9, 9, 5)), pngOf(t, scene(9, 9, 6))
	send := func(token string, images ...[]byte) (answer, []stored) {
		var files []file
		for i, b := range images {
			files = append(files, file{name: fmt.Sprintf("%d.png", i), bytes: b})
		}
		body, contentType := form(files...)
		a := s.do(http.MethodPost, "/upload", body, "Content-Type", contentType, "Idempotency-Key", token)
		var doc struct{ Files []stored }
		a.json(t, &doc)
		return a, doc.Files
	}
	_, first := send("k1", one, two)
	a, again := send("k1", one, two)
	if a.status != 201 || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("the retry was answered %d %v, the first %v", a.status, again, first)
	}
	if a, _ := send("k1", two); a.status != 422 {
		t.Errorf("other content under the same key was answered %d", a.status)
	}
	if _, other := send("k2", one); other[0].ID == first[0].ID {
		t.Error("another key answered with the first one's image")
	}
}

func TestPut(t *testing.T) {
	s := start(t, "")
	one, two := pngOf(t, scene(30, 20, 7)), jpegOf(t, scene(20, 30, 8))
	put := func(body []byte, header ...string) answer {
		t.Helper()
		return s.do(http.MethodPut, "/images/a/b.png", bytes.NewReader(body), header...)
	}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	if a := put(one, "Content-Digest", digest(one)); a.status != 201 {
		t.Fatalf("a new key was answered %d: %s", a.status, a.body)
	}
	before := s.get("/images/a/b.png?w=10&format=png")
	if a := put(two, "If-None-Match", "*"); a.status != 412 {
		t.Errorf("If-None-Match: * was answered %d", a.status)
	}
	if a := put(two, "Content-Digest", digest(one)); a.status != 400 {
		t.Errorf("a wrong digest was answered %d", a.status)
	}
	if got := s.get("/images/a/b.png"); !bytes.Equal(got.body, one) {
		t.Error("a refused PUT changed the image")
	}
	if a := put(two); a.status != 200 {
		t.Errorf("a replacement was answered %d: %s", a.status, a.body)
	}
	if got := s.get("/images/a/b.png"); !bytes.Equal(got.body, two) || got.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("after the replacement came %d bytes of %s", len(got.body), got.header.Get("Content-Type"))
	}
	// Both were stored within the second that a date can tell.
	modified := s.get("/images/a/b.png").header.Get("Last-Modified")
	if a := s.get("/images/a/b.png", "If-Modified-Since", modified); a.status != 200 {
		t.Errorf("a date as a condition was answered %d: it can't tell one original from the next", a.status)
	}
	if a := s.get("/images/a/b.png", "Range", "bytes=0-9", "If-Range", modified); a.status != 200 {
		t.Errorf("a part on the condition of a date was answered %d", a.status)
	}
	if after := s.get("/images/a/b.png?w=10&format=png"); bytes.Equal(before.body, after.body) {
		t.Error("the old rendition is still answered after the replacement")
	}
	if a := s.do(http.MethodPut, "/images/a//b.png", bytes.NewReader(one)); a.status/100 == 2 {
		t.Errorf("an empty segment was answered %d", a.status)
	}
	if a := s.do(http.MethodPut, "/images/a/%2e%2e/b.png", bytes.NewReader(one)); a.status/100 == 2 {
		t.Errorf("a segment .. was answered %d", a.status)
	}
}

func TestLimits(t *testing.T) {
	s := start(t, "", "SAFELIGHT_INGEST_MAX_FILE_BYTES=50kB", "SAFELIGHT_INGEST_MAX_SIDE=300", "SAFELIGHT_INGEST_MAX_FILES=3",
		"SAFELIGHT_INGEST_MAX_PAGES=5", "SAFELIGHT_INGEST_MAX_TOTAL_PIXELS=50000", "SAFELIGHT_INGEST_STRICT=true")
	small := pngOf(t, scene(10, 10, 9))
	cases := []struct {
		name   string
		file   file
		status int
		limit  string
	}{
		{"bytes", file{name: "a.png", bytes: append(bytes.Clone(small), make([]byte, 60_000)...)}, 413, "ingest.max_file_bytes"},
		{"side", file{name: "a.png", bytes: pngOf(t, scene(301, 2, 1))}, 422, "ingest.max_side"},
		{"pages", file{name: "a.gif", bytes: movie(t, 10, 10, 6)}, 422, "ingest.max_pages"},
		{"total", file{name: "a.gif", bytes: movie(t, 150, 100, 4)}, 422, "ingest.max_total_pixels"},
		{"strict name", file{name: "a.jpg", bytes: small}, 415, ""},
	}
	for _, c := range cases {
		a, got := s.upload(c.file)
		if a.status != c.status || len(got) != 1 || got[0].Error == nil || got[0].Error.Limit != c.limit {
			t.Errorf("%s: answered %d %s", c.name, a.status, a.body)
		}
	}
	a, got := s.upload(file{name: "1.png", bytes: small}, file{name: "2.png", bytes: small}, file{name: "3.png", bytes: small}, file{name: "4.png", bytes: small})
	if a.status != 207 || len(got) != 4 || got[3].Error == nil || got[3].Error.Limit != "ingest.max_files" {
		t.Errorf("too many files were answered %d %s", a.status, a.body)
	}
	if a := s.do(http.MethodPut, "/images/x.png", bytes.NewReader(make([]byte, 60_000))); a.status != 413 {
		t.Errorf("a PUT that is too large was answered %d", a.status)
	}
}

func TestDelete(t *testing.T) {
	s := start(t, "", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=50ms")
	img := pngOf(t, scene(60, 40, 10))
	_, got := s.upload(file{name: "a.png", bytes: img}, file{name: "b.png", bytes: img})
	a, b := got[0], got[1]
	if r := s.get(a.URL + "?w=20"); r.status != 200 {
		t.Fatal(r.status)
	}
	var meta struct {
		Renditions []struct{ Options string }
		ThumbHash  string
		BlurHash   string
		PHash      string
		Verified   bool
	}
	s.get("/v1/images/"+a.ID).json(t, &meta)
	if len(meta.Renditions) != 1 || meta.ThumbHash == "" || meta.BlurHash == "" || len(meta.PHash) != 16 || !meta.Verified {
		t.Errorf("the metadata is %+v", meta)
	}
	if r := s.do(http.MethodDelete, "/v1/images/"+a.ID, nil); r.status != 204 {
		t.Fatalf("delete answered %d %s", r.status, r.body)
	}
	for _, path := range []string{a.URL, a.URL + "?w=20", "/image/" + a.ID, "/v1/images/" + a.ID} {
		if r := s.get(path); r.status != 404 {
			t.Errorf("%s answered %d after the delete", path, r.status)
		}
	}
	if r := s.get(b.URL); !bytes.Equal(r.body, img) {
		t.Error("the other image of the same source is gone too")
	}
	if r := s.do(http.MethodDelete, "/v1/images/"+b.ID, nil); r.status != 204 {
		t.Fatal(r.status)
	}
	eventually(t, func() bool {
		return len(filesUnder(t, s.data+"/sources")) == 0 && len(filesUnder(t, s.data+"/cache")) == 0
	},
		func() string {
			return fmt.Sprint("left: ", filesUnder(t, s.data+"/sources"), filesUnder(t, s.data+"/cache"))
		})
}

// eventually waits for a condition that the server brings about by itself.
func eventually(t *testing.T, ok func() bool, left func() string) {
	t.Helper()
	within(t, 20*time.Second, ok, left)
}

// within is eventually with the time that it may take.
func within(t *testing.T, limit time.Duration, ok func() bool, left func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal(left())
		}
		<-tick.C
	}
}

// TestIdempotencyKeyOnPut repeats PUTs: a repetition answers as before, a token
// means nothing for another key, and one whose image is gone stays spent.
func TestIdempotencyKeyOnPut(t *testing.T) {
	s := start(t, "")
	one, two := pngOf(t, scene(9, 9, 1)), pngOf(t, scene(9, 9, 2))
	put := func(key string, body []byte, header ...string) answer {
		t.Helper()
		return s.do(http.MethodPut, "/images/"+key, bytes.NewReader(body), append([]string{"Idempotency-Key", "k"}, header...)...)
	}
	for range 2 {
		if a := put("a.png", one, "If-None-Match", "*"); a.status != 201 {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	}
	if a := put("b.png", one); a.status != 201 || s.get("/images/b.png").status != 200 {
		t.Errorf("the same token for another key was answered %d %s", a.status, a.body)
	}
	if a := put("a.png", two); a.status != 422 {
		t.Errorf("other bytes under the same token were answered %d", a.status)
	}
	if a := s.do(http.MethodPut, "/images/a.png", bytes.NewReader(two)); a.status != 200 {
		t.Fatal(a.status)
	}
	if a := put("a.png", one); a.status != 409 || !bytes.Equal(s.get("/images/a.png").body, two) {
		t.Errorf("a late repetition was answered %d: it must not undo what came after", a.status)
	}
}
