package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// cycles is how often the server is killed: 20, or SAFELIGHT_CRASH_CYCLES.
func cycles(t testing.TB) int {
	t.Helper()
	text := os.Getenv("SAFELIGHT_CRASH_CYCLES")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SAFELIGHT_CRASH_CYCLES: %v", err)
	}
	return n
}

// acknowledged remembers what the server said it has stored.
type acknowledged struct {
	mu  sync.Mutex
	all map[string][sha256.Size]byte // URL → digest of the bytes
}

func (a *acknowledged) add(url string, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[url] = sha256.Sum256(body)
}

// TestCrash kills the server with SIGKILL at random moments while uploads are
// under way, starts it again over the same data, and demands every file that
// was acknowledged, byte for byte. At the end nothing may lie about that no
// image refers to.
func TestCrash(t *testing.T) {
	data := t.TempDir()
	known := &acknowledged{all: make(map[string][sha256.Size]byte)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	n := cycles(t)
	for cycle := range n {
		verify := []string{"decode", "header"}[cycle%2]
		s := start(t, data, "SAFELIGHT_INGEST_VERIFY="+verify, "SAFELIGHT_CODEC_PROCESSES=2")
		checkSample(t, s, known, 40, r)
		loadUntilKilled(s, known, cycle, time.Duration(20+r.IntN(400))*time.Millisecond)
	}
	s := start(t, data, "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=100ms")
	t.Logf("%d kills, %d acknowledged", n, len(known.all))
	checkSample(t, s, known, len(known.all), r)
	if len(known.all) < n {
		t.Errorf("only %d files were acknowledged in %d cycles: the load was no load", len(known.all), n)
	}
	eventually(t, func() bool {
		return len(orphans(t, s, data)) == 0 && len(filesUnder(t, filepath.Join(data, "tmp"))) == 0
	},
		func() string { return fmt.Sprint("left after the sweep: ", orphans(t, s, data)) })
}

// loadUntilKilled uploads from several clients, new keys and replacements, and
// kills the server after a while.
func loadUntilKilled(s *server, known *acknowledged, cycle int, after time.Duration) {
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d.png", cycle, c, i)
				body := uniquePNG(name, 2000+i%7*9000)
				a, err := s.try(http.MethodPut, "/images/"+name, bytes.NewReader(body))
				if err != nil {
					return
				}
				if a.status == 201 {
					known.add("/images/"+name, body)
				}
			}
		}()
	}
	timer := time.NewTimer(after)
	<-timer.C
	s.kill()
	clients.Wait()
}

// uniquePNG is a small valid picture with bytes of its own: the name in a text
// chunk would be stripped by nobody, but trailing bytes are simpler and legal
// for the decoder.
func uniquePNG(name string, extra int) []byte {
	var out bytes.Buffer
	out.Write(tinyPNG)
	filler := rand.New(rand.NewPCG(uint64(len(name)), uint64(extra)))
	out.WriteString(name)
	for range extra / 8 {
		v := filler.Uint64()
		for range 8 {
			out.WriteByte(byte(v))
			v >>= 8
		}
	}
	return out.Bytes()
}

// checkSample reads back some of what was acknowledged.
func checkSample(t *testing.T, s *server, known *acknowledged, n int, r *rand.Rand) {
	t.Helper()
	urls := make([]string, 0, len(known.all))
	for url := range known.all {
		urls = append(urls, url)
	}
	r.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	for _, url := range urls[:min(n, len(urls))] {
		a := s.get(url)
		if a.status != 200 || sha256.Sum256(a.body) != known.all[url] {
			t.Fatalf("%s was acknowledged, and is answered %d with %d bytes", url, a.status, len(a.body))
		}
	}
}

// orphans are files of sources, in either form, that no image refers to.
func orphans(t *testing.T, s *server, data string) []string {
	t.Helper()
	referred := make(map[string]bool)
	for cursor := ""; ; {
		var page struct {
			Images []struct {
				SHA256 string `json:"sha256"`
			} `json:"images"`
			NextCursor string `json:"next_cursor"`
		}
		s.get("/v1/images?limit=1000&cursor="+cursor).json(t, &page)
		for _, img := range page.Images {
			referred[img.SHA256] = true
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	var left []string
	for _, f := range append(filesUnder(t, filepath.Join(data, "sources")), filesUnder(t, filepath.Join(data, "recompressed"))...) {
		if !referred[filepath.Base(f)] {
			left = append(left, f)
		}
	}
	return left
}

// filesUnder lists plain files below a folder; lock files do not count.
func filesUnder(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(filepath.Base(path), "lock") {
			files = append(files, path)
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
