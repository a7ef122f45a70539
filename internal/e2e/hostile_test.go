package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOnlyDirectLocalClientsWithoutKeys(t *testing.T) {
	s := start(t, "")
	cases := []struct {
		name   string
		header []string
		status int
	}{
		{"direct", nil, 200},
		{"same origin", []string{"Origin", s.url}, 200},
		{"through a proxy", []string{"X-Forwarded-For", "10.0.0.1"}, 403},
		{"through a proxy, RFC 7239", []string{"Forwarded", "for=10.0.0.1"}, 403},
		{"another site's page", []string{"Origin", "https://example.com"}, 403},
		{"sandboxed page", []string{"Origin", "null"}, 403},
		{"a rebound name", []string{"Host", "example.com"}, 403},
		{"through a proxy that names its client in another way", []string{"X-Cluster-Client-Ip", "10.0.0.1"}, 403},
		{"a made-up key", []string{"Authorization", "Bearer 0123456789abcdef"}, 401},
	}
	for _, c := range cases {
		if a := s.get("/v1/images", c.header...); a.status != c.status {
			t.Errorf("%s: answered %d %s", c.name, a.status, a.body)
		}
	}
}

func TestKeys(t *testing.T) {
	s := start(t, "", `SAFELIGHT_AUTH_KEYS=[{name: up, token: upload-token-0123, scopes: [upload]}, {name: rd, token: reader-token-0123, scopes: [read]},`+
		` {name: other, token: other-owner-01234, owner: other, scopes: [upload, read]}]`)
	img := pngOf(t, scene(10, 10, 1))
	send := func(token string) answer {
		body, contentType := form(file{name: "a.png", bytes: img})
		return s.do(http.MethodPost, "/upload", body, "Content-Type", contentType, "Authorization", "Bearer "+token)
	}
	for token, want := range map[string]int{"upload-token-0123": 201, "reader-token-0123": 403, "nobody-token-0123": 401, "other-owner-01234": 201} {
		if a := send(token); a.status != want {
			t.Errorf("upload with %s: answered %d %s", token, a.status, a.body)
		}
	}
	if a := s.get("/images/a.png?w=5"); a.status != 200 {
		t.Errorf("a picture is public once there are keys, but was answered %d", a.status)
	}
	if a := s.get("/v1/images"); a.status != 401 {
		t.Errorf("metadata without a key was answered %d", a.status)
	}
	var list struct{ Images []struct{ ID string } }
	s.get("/v1/images", "Authorization", "Bearer other-owner-01234").json(t, &list)
	if len(list.Images) != 1 {
		t.Fatalf("the other owner sees %d images", len(list.Images))
	}
	if a := s.get("/v1/images/"+list.Images[0].ID, "Authorization", "Bearer reader-token-0123"); a.status != 404 {
		t.Errorf("another owner's image was answered %d", a.status)
	}
}

func TestBadParameters(t *testing.T) {
	s := start(t, "")
	s.upload(file{name: "a.png", bytes: pngOf(t, scene(10, 10, 1))})
	for _, query := range []string{
		"w=-1", "w=abc", "w=99999999", "w=1e3", "h=5.5", "fit=bogus", "gravity=2,2", "gravity=smartish", "crop=1,2,3", "crop=0,0,0,0", "crop=50,50,5,5",
		"rot=1000", "flip=x", "trim=256", "pad=1,2,3", "pad=99999", "bg=zzz", "blur=NaN", "blur=1e400", "sharp=0", "bright=-1", "q=0", "q=101", "q=80.5",
		"format=svg", "format=heic", "page=7", "page=-1", "anim=maybe", "watermark=nothing.png", "watermark=../x", "text=" + strings.Repeat("x", 300),
		"unknown=1", "W=10", "w=1&w=2", "preset=none", "%zz=1", "w=%00", "w=16384&h=16384&fit=fill", "dpr=100", "text=a%0Ab",
	} {
		a := s.get("/images/a.png?" + query)
		if a.status != 400 {
			t.Errorf("?%s was answered %d %.200s", query, a.status, a.body)
			continue
		}
		var p problem
		if a.json(t, &p); p.Detail == "" || p.Type == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("?%s: the problem is %s", query, a.body)
		}
	}
	for _, query := range []string{"v=7", "utm_source=x&v=1", "w=0", "q=auto", "dpr=1", "fit=cover", "rot=-90", "gray=", "trim=", "w=5&utm_x=%ff"} {
		if a := s.get("/images/a.png?" + query); a.status != 200 {
			t.Errorf("?%s was answered %d %.200s", query, a.status, a.body)
		}
	}
}

func TestNaughtyNames(t *testing.T) {
	s := start(t, "")
	img := pngOf(t, scene(4, 4, 1))
	names := []string{
		"../../etc/passwd", `..\..\windows\system32\x.png`, "a\r\nSet-Cookie: x=1.png", "\u202Egnp.exe", "e\u0301.png", strings.Repeat("n", 4096) + ".png",
		"-rf.png", "CON", ".htaccess", "", "/", "..", "a/../b.png", "%2e%2e%2fx.png", "\"quoted\".png", "semi;colon.png", "日本語.png", "\xff\xfe.png", "a b.png", "?.png", "#.png",
	}
	for _, name := range names {
		a, files := s.upload(file{name: name, bytes: img})
		if a.status != 201 {
			t.Errorf("%q was answered %d %s", name, a.status, a.body)
			continue
		}
		for segment := range strings.SplitSeq(files[0].Key, "/") {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\x00\r\n\\") {
				t.Errorf("%q became the key %q", name, files[0].Key)
			}
		}
		if got := s.get(files[0].URL); !bytes.Equal(got.body, img) || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: %s answered %d", name, files[0].URL, got.status)
		}
	}
	for _, f := range filesUnder(t, s.data) {
		if strings.Contains(f, "passwd") || strings.Contains(f, ".htaccess") {
			t.Errorf("a client's name became a file: %s", f)
		}
	}
}

// TestInventedIDs asks for ids that were never made.
func TestInventedIDs(t *testing.T) {
	s := start(t, "")
	_, files := s.upload(file{name: "a.png", bytes: tinyPNG})
	id := files[0].ID
	for _, bad := range []string{"0", strings.Repeat("0", 26), id[:25], id + "0", strings.ToUpper(id), flip(id, 3), flip(id, 20), flip(id, 25), url.PathEscape("../" + id)} {
		if a := s.get("/image/" + bad); a.status != 404 && a.status != 301 && a.status != 307 {
			t.Errorf("/image/%s was answered %d", bad, a.status)
		}
	}
}

func flip(id string, at int) string {
	c := byte('0')
	if id[at] == '0' {
		c = '1'
	}
	return id[:at] + string(c) + id[at+1:]
}

// TestBodiesThatBreakOff ends uploads early in several ways: nothing may be
// stored and no temporary file may stay.
func TestBodiesThatBreakOff(t *testing.T) {
	s := start(t, "")
	img := jpegOf(t, scene(300, 200, 1))
	whole, contentType := form(file{name: "a.jpg", bytes: img})
	for _, percent := range []int{1, 50, 99} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", contentType, whole.Len())
		_, _ = conn.Write(whole.Bytes()[:whole.Len()*percent/100])
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		_ = conn.Close()
		if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
			t.Errorf("%d %% of a body was answered %.60s", percent, answer)
		}
	}
	if a := s.do(http.MethodPut, "/images/x.jpg", bytes.NewReader(img[:len(img)/2])); a.status != 422 {
		t.Errorf("half a JPEG was answered %d %s", a.status, a.body)
	}
	eventually(t, func() bool { return len(filesUnder(t, filepath.Join(s.data, "tmp"))) == 0 },
		func() string { return fmt.Sprint("left: ", filesUnder(t, filepath.Join(s.data, "tmp"))) })
	var list struct{ Images []struct{} }
	if s.get("/v1/images").json(t, &list); len(list.Images) != 0 {
		t.Errorf("%d images were stored", len(list.Images))
	}
}

// TestStandstill sends bodies and headers that stop: they are given up, and a
// good client is served meanwhile.
func TestStandstill(t *testing.T) {
	s := start(t, "", "SAFELIGHT_HTTP_BODY_IDLE=500ms")
	host := strings.TrimPrefix(s.url, "http://")
	var slow sync.WaitGroup
	for i := range 200 {
		slow.Add(1)
		go func() {
			defer slow.Done()
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if i%2 == 0 {
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
			} else {
				fmt.Fprintf(conn, "PUT /images/%d.png HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nabc", i)
			}
			_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("connection %d is still open after 15 s", i)
			}
		}()
	}
	if a, _ := s.upload(file{name: "good.png", bytes: tinyPNG}); a.status != 201 {
		t.Errorf("a good client was answered %d", a.status)
	}
	slow.Wait()
}

// TestDecodeBombs uploads files that cost a decoder its whole deadline while
// normal requests run.
func TestDecodeBombs(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(corpus(t), "gen--jpeg-progressive-scan-bomb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "", "SAFELIGHT_INGEST_MAX_SCANS=100000", "SAFELIGHT_INGEST_VERIFY=header", "SAFELIGHT_CODEC_CPU_INTERACTIVE=1s")
	_, files := s.upload(file{name: "bomb.jpg", bytes: raw}, file{name: "good.jpg", bytes: jpegOf(t, scene(400, 300, 1))})
	for range 2 { // the second answer is remembered, not computed
		begin := time.Now()
		a := s.get(files[0].URL + "?w=100")
		if d := time.Since(begin); a.status != 504 && a.status != 422 || d > 10*time.Second {
			t.Errorf("the bomb was answered %d after %s", a.status, d)
		}
	}
	if a := s.get(files[1].URL + "?w=100"); a.status != 200 {
		t.Errorf("a good picture was answered %d after the bomb", a.status)
	}
	s.alive()
}

// TestClientsThatLeave cancels renders; the server must go on.
func TestClientsThatLeave(t *testing.T) {
	s := start(t, "")
	_, files := s.upload(file{name: "big.jpg", bytes: jpegOf(t, scene(3000, 2000, 1))})
	for i := range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i)*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s%s?w=%d&format=avif", s.url, files[0].URL, 1000+i), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
		}
		cancel()
	}
	if a := s.get(files[0].URL + "?w=50"); a.status != 200 {
		t.Errorf("after cancelled renders a request is answered %d %s", a.status, a.body)
	}
}

// TestOldProtocol speaks HTTP/1.0, as a proxy does that was not told otherwise.
func TestOldProtocol(t *testing.T) {
	s := start(t, "")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/images HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
	got, _ := io.ReadAll(conn)
	if !bytes.Contains(got, []byte(" 403 ")) {
		t.Errorf("answered %.100s", got)
	}
}

// TestLongPartHeader sends a file whose part header is megabytes long.
func TestLongPartHeader(t *testing.T) {
	s := start(t, "")
	body := "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"" + strings.Repeat("x", 5<<20) + ".png\"\r\n\r\nx\r\n--b--\r\n"
	a := s.do(http.MethodPost, "/upload", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=b")
	if a.status != 400 || !bytes.Contains(a.body, []byte("header of a part")) {
		t.Errorf("answered %d %.300s", a.status, a.body)
	}
}

// TestNothingThere asks for paths and methods that do not exist.
func TestNothingThere(t *testing.T) {
	s := start(t, "")
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/nothing", 404}, {"GET", "/image/", 404}, {"DELETE", "/upload", 405}, {"PATCH", "/images/a.png", 405}} {
		a := s.do(c.method, c.path, nil)
		if a.status != c.status || a.header.Get("Content-Type") != "application/problem+json" || c.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s was answered %d %s", c.method, c.path, a.status, a.header.Get("Content-Type"))
		}
	}
}

// TestRot flips a byte of a stored source while the server is down: it must not
// be served, nor made renditions of.
func TestRot(t *testing.T) {
	data := t.TempDir()
	s := start(t, data)
	s.upload(file{name: "a.png", bytes: pngOf(t, scene(60, 40, 1))})
	s.kill()
	for _, path := range filesUnder(t, filepath.Join(data, "sources")) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = start(t, data)
	for _, path := range []string{"/images/a.png", "/images/a.png?w=20"} {
		if a := s.get(path); a.status != 500 {
			t.Errorf("%s was answered %d from damaged bytes", path, a.status)
		}
	}
	if !strings.Contains(s.log.String(), "damaged") {
		t.Errorf("the log does not tell:\n%s", s.log)
	}
}

// TestSweepAgainstUploads sweeps without grace as fast as it can while clients
// store, delete and store the same bytes again: what was acknowledged is there.
func TestSweepAgainstUploads(t *testing.T) {
	s := start(t, "", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=5ms", "SAFELIGHT_INGEST_VERIFY=header")
	var clients sync.WaitGroup
	for c := range 16 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := range 40 {
				path := fmt.Sprintf("/images/%d-%d.png", c, i)
				body := uniquePNG(fmt.Sprint(c, i), 3000)
				if i%4 == 0 {
					body = uniquePNG("shared", 3000)
				}
				a := s.do(http.MethodPut, path, bytes.NewReader(body))
				if a.status != 201 {
					t.Errorf("%s was answered %d %s", path, a.status, a.body)
					return
				}
				if got := s.get(path); !bytes.Equal(got.body, body) {
					t.Errorf("%s was acknowledged, and is answered %d", path, got.status)
				}
				if i%4 == 0 {
					var f stored
					a.json(t, &f)
					s.do(http.MethodDelete, "/v1/images/"+f.ID, nil)
				}
			}
		}()
	}
	clients.Wait()
}

// TestTooLargeForAVIF asks for what its encoder could only fail at.
func TestTooLargeForAVIF(t *testing.T) {
	s := start(t, "")
	s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(300, 300, 1))})
	for query, limit := range map[string]string{"w=7000&h=7000&fit=cover&format=avif": "render.max_avif_pixels", "w=4000&h=4000&fit=cover&format=jxl": "render.max_jxl_pixels", "w=6000&h=6000&fit=fill&blur=90": "blur work"} {
		a := s.get("/images/a.jpg?" + query)
		var p problem
		if a.json(t, &p); a.status != 400 || p.Limit != limit {
			t.Errorf("?%s was answered %d %s", query, a.status, a.body)
		}
	}
}
