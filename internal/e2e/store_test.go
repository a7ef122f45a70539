package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/cdkblob/s3test"
)

// homeEnv is the environment of a server whose home is in a bucket.
func homeEnv(url string, more ...string) []string {
	return append(append(s3test.Env(), "SAFELIGHT_STORE_SOURCES="+url, "SAFELIGHT_PIPELINE_ENCODER=none"), more...)
}

// pictures are the objects of the bucket photos but that which names the
// installation.
func pictures(storage *s3test.Server) []string {
	return slices.DeleteFunc(storage.Objects("photos"), func(name string) bool { return path.Base(name) == blob.InstallationName })
}

// TestHomeInBucket takes pictures through a server whose sources and renditions
// lie in a bucket: they are uploaded and rendered without being fetched, fetched
// once after a restart without the cache, and what is deleted leaves the bucket.
func TestHomeInBucket(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	storage.Bucket("photos", "")
	proxy := s3test.Watch(t, storage)
	env := homeEnv(s3test.URL(proxy.Endpoint, "photos", "home"), "SAFELIGHT_PRESETS={thumb: w=20}", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms")
	s := start(t, "", env...)
	original := jpegOf(t, scene(600, 400, 1))
	a, stored := s.upload(file{name: "a.jpg", bytes: original})
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	img := stored[0]
	eventually(t, func() bool { return s.settled(img.ID) && len(s.describe(img.ID).Presets) == 1 }, func() string { return s.log.String() })
	checkPicture(t, s, img.Key, original)
	if n := proxy.Count("GET", "/home/sources/"); n != 0 {
		t.Errorf("what was just uploaded was fetched %d times", n)
	}
	if left := append(filesUnder(t, filepath.Join(s.data, "sources")), filesUnder(t, filepath.Join(s.data, "renditions"))...); len(left) != 0 {
		t.Errorf("in the data directory there are %v", left)
	}
	objects := strings.Join(pictures(storage), " ")
	if strings.Count(objects, "home/sources/") != 1 || strings.Count(objects, "home/renditions/") != 1 {
		t.Errorf("the bucket has %s", objects)
	}
	thumb := s.describe(img.ID).Presets[0]
	s = restartWithoutCaches(t, s, env)
	proxy.Reset()
	manySizes(t, s, img.Key)
	if n := proxy.Count("GET", "/home/sources/"); n != 1 {
		t.Errorf("ten sizes of a photo fetched it %d times", n)
	}
	checkPicture(t, s, img.Key, original)
	if a := s.get("/images/"+img.Key, "Range", "bytes=10-19"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, original[10:20]) {
		t.Errorf("a range: %d, %d bytes", a.status, len(a.body))
	}
	if a := s.get(thumb.URL); a.status != 200 || digestOf(a.body) != thumb.SHA256 {
		t.Errorf("the preset: %d, %d bytes", a.status, len(a.body))
	}
	if n := proxy.Count("GET", "/home/sources/"); n != 1 {
		t.Errorf("it was fetched %d times after all", n)
	}
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"store":{"status":"ok"`) || s.get("/readyz").status != 200 {
		t.Errorf("health: %s", a.body)
	}
	text := string(s.get("/metrics").body)
	for _, line := range []string{`cache_misses_total{level="blobs"} 2`, `cache_entries{level="blobs"} 2`, `destination_left_alone{destination="store.sources"} 0`} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if a := s.do(http.MethodDelete, "/v1/images/"+img.ID, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.body)
	}
	eventually(t, func() bool { return len(pictures(storage)) == 0 }, func() string { return fmt.Sprint("still there: ", pictures(storage)) })
	eventually(t, func() bool { return len(filesUnder(t, filepath.Join(s.data, "blobs"))) == 0 }, func() string {
		return fmt.Sprint("kept of what was deleted: ", filesUnder(t, filepath.Join(s.data, "blobs")))
	})
}

// restartWithoutCaches stops a server, empties its caches, and starts it again.
func restartWithoutCaches(t *testing.T, s *server, env []string) *server {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatalf("the server ended with %v\n%s", err, s.log)
	}
	emptyCaches(t, s.data)
	return start(t, s.data, env...)
}

// emptyCaches removes what a server keeps of what lies elsewhere or can be made
// again.
func emptyCaches(t *testing.T, data string) {
	t.Helper()
	for _, dir := range []string{"blobs", "cache"} {
		if err := os.RemoveAll(filepath.Join(data, dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// manySizes asks for ten sizes of a photo at once.
func manySizes(t *testing.T, s *server, key string) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if a, err := s.try(http.MethodGet, fmt.Sprintf("/images/%s?w=%d", key, 30+i), nil); err != nil || a.status != 200 {
				t.Errorf("a size is answered with %d, %v", a.status, err)
			}
		})
	}
	wg.Wait()
}

// TestHomeAway has the bucket's server go away and come back: meanwhile uploads
// are refused soon and not acknowledged, and what this node has is served. The
// node starts without it too.
func TestHomeAway(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	env := homeEnv(storage.Bucket("photos", ""))
	s := start(t, "", env...)
	first := jpegOf(t, scene(200, 150, 1))
	_, stored := s.upload(file{name: "a.jpg", bytes: first})
	key := stored[0].Key
	storage.Stop()
	for i := range 4 {
		began := time.Now()
		a, files := s.upload(file{name: fmt.Sprintf("away%d.jpg", i), bytes: jpegOf(t, scene(200, 150, uint64(10+i)))})
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("an upload is answered with %d %s %+v", a.status, a.body, files)
		}
		took := time.Since(began)
		t.Logf("refused after %v", took)
		if took > 10*time.Second {
			t.Error("that is not soon")
		}
	}
	checkPicture(t, s, key, first)
	manySizes(t, s, key)
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"store":{"status":"failed"`) || s.get("/readyz").status != 200 {
		t.Errorf("health: %s", a.body)
	}
	storage.Run()
	back := time.Now()
	eventually(t, func() bool {
		a, _ := s.upload(file{name: "back.jpg", bytes: jpegOf(t, scene(200, 150, 20))})
		return a.status == http.StatusCreated
	}, func() string { return s.log.String() })
	if took := time.Since(back); took > 10*time.Second {
		t.Errorf("uploads work again after %v", took)
	}
	var page struct {
		Images []struct{ ID string } `json:"images"`
	}
	if s.get("/v1/images").json(t, &page); len(page.Images) != 2 {
		t.Errorf("there are %d images", len(page.Images))
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	storage.Stop()
	s = start(t, s.data, env...)
	if a := s.get("/readyz"); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"store at start"`) {
		t.Errorf("a node that has not reached its home: %d %s", a.status, a.body)
	}
	checkPicture(t, s, key, first) // its caches have survived
	storage.Run()
	eventually(t, func() bool { return s.get("/readyz").status == 200 }, func() string { return string(s.get("/readyz").body) })
}

// TestTwoNodesWithBucket has two servers share a database and a bucket, and no
// directory.
func TestTwoNodesWithBucket(t *testing.T) {
	t.Parallel()
	_, setting := database(t)
	storage := s3test.Start(t)
	storage.Bucket("photos", "")
	proxy := s3test.Watch(t, storage)
	url := func(prefix string) string { return s3test.URL(proxy.Endpoint, "photos", prefix) }
	env := homeEnv(url("sources"), setting, "SAFELIGHT_STORE_RENDITIONS="+url("others"), "SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=300ms")
	a := start(t, "", append(env, "SAFELIGHT_NODE=a")...)
	b := start(t, "", append(env, "SAFELIGHT_NODE=b")...)
	body := jpegOf(t, scene(600, 400, 1))
	answer, stored := a.upload(file{name: "shared.jpg", bytes: body})
	if answer.status != http.StatusCreated {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	img := stored[0]
	checkPicture(t, b, img.Key, body)
	manySizes(t, b, img.Key)
	eventually(t, func() bool { return b.settled(img.ID) && len(b.describe(img.ID).Presets) == 1 }, func() string { return fmt.Sprintf("%+v\n%s\n%s", b.describe(img.ID), a.log, b.log) })
	thumb := b.describe(img.ID).Presets[0]
	for _, s := range []*server{a, b} {
		if got := s.get(thumb.URL); got.status != 200 || digestOf(got.body) != thumb.SHA256 {
			t.Errorf("the preset: %d, %d bytes", got.status, len(got.body))
		}
	}
	if n := proxy.Count("GET", "/sources/sources/"); n != 1 {
		t.Errorf("the photo was fetched %d times by two nodes", n)
	}
	objects := strings.Join(pictures(storage), " ")
	if strings.Count(objects, "sources/sources/") != 1 || strings.Count(objects, "others/renditions/") != 1 {
		t.Errorf("the bucket has %s", objects)
	}
	if answer := a.do(http.MethodDelete, "/v1/images/"+img.ID, nil); answer.status != http.StatusNoContent {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	for _, path := range []string{"/images/" + img.Key, "/images/" + img.Key + "?w=31", thumb.URL} {
		eventually(t, func() bool { return b.get(path).status == http.StatusNotFound }, func() string { return "the other node still serves " + path })
	}
	eventually(t, func() bool { return len(pictures(storage)) == 0 }, func() string { return fmt.Sprint("still there: ", pictures(storage)) })
}

// TestCrashWithBucket is TestCrash with the home in a bucket, in fewer rounds.
func TestCrashWithBucket(t *testing.T) {
	storage := s3test.Start(t)
	env := homeEnv(storage.Bucket("photos", ""), "SAFELIGHT_CODEC_PROCESSES=2")
	data := t.TempDir()
	known := &acknowledged{all: make(map[string][32]byte)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	n := min(cycles(t), 5)
	for cycle := range n {
		if cycle%2 == 1 { // the cache has nothing that the bucket has not
			if err := os.RemoveAll(filepath.Join(data, "blobs")); err != nil {
				t.Fatal(err)
			}
		}
		s := start(t, data, env...)
		checkSample(t, s, known, 40, r)
		loadUntilKilled(s, known, cycle, time.Duration(300+r.IntN(900))*time.Millisecond)
	}
	s := start(t, data, append(env, "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms")...)
	t.Logf("%d kills, %d acknowledged", n, len(known.all))
	checkSample(t, s, known, len(known.all), r)
	if len(known.all) < n {
		t.Errorf("only %d files were acknowledged in %d cycles: the load was no load", len(known.all), n)
	}
	left := func() []string {
		return append(orphans(t, s, filepath.Join(storage.Dir, "photos")), filesUnder(t, filepath.Join(data, "blobs", "tmp"))...)
	}
	eventually(t, func() bool { return len(left()) == 0 }, func() string { return fmt.Sprint("left after the sweep: ", left()) })
}

// TestWholeWayFromBucket has sources become JPEG XL in a bucket, be published to a
// directory, expire, and come back: from the JPEG XL file while that is there, and
// from the directory when the bucket has nothing or is away.
func TestWholeWayFromBucket(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	published := t.TempDir()
	env := homeEnv(storage.Bucket("photos", ""), "SAFELIGHT_PRESETS={thumb: w=96&format=jpeg}", "SAFELIGHT_PIPELINE_RECOMPRESS=jxl", "SAFELIGHT_PIPELINE_RECOMPRESS_AFTER=0s",
		"SAFELIGHT_DESTINATIONS={archive: {url: 'file://"+published+"'}}", "SAFELIGHT_PIPELINE_EXPIRE=8s")
	photo := jpegOf(t, scene(900, 600, 1))
	s := start(t, "", env...)
	needRecompression(t, s)
	_, up := s.upload(file{name: "a.jpg", bytes: photo})
	img := up[0]
	objects := func(prefix string) (n int) {
		for _, name := range pictures(storage) {
			if strings.HasPrefix(name, prefix) {
				n++
			}
		}
		return n
	}
	whole := func(what string) {
		t.Helper()
		if a := s.get(img.URL); a.status != 200 || !bytes.Equal(a.body, photo) {
			t.Errorf("%s: the original: %d, %d bytes", what, a.status, len(a.body))
		}
		if a := s.get(img.URL + "?w=200"); a.status != 200 || decoded(t, a).Bounds().Dx() != 200 {
			t.Errorf("%s: a rendition: %d", what, a.status)
		}
	}
	eventually(t, func() bool { return objects("sources/") == 0 && objects("recompressed/") == 1 }, func() string { return s.log.String() })
	s.kill()
	emptyCaches(t, s.data)
	s = start(t, s.data, env...)
	whole("as JPEG XL")
	eventually(t, func() bool { return len(pictures(storage)) == 0 && s.settled(img.ID) }, func() string { return fmt.Sprint(pictures(storage), s.log) })
	s.kill()
	emptyCaches(t, s.data)
	s = start(t, s.data, env...)
	storage.Stop()
	whole("expired, with the bucket away")
}

// TestHomeOnMount has the home on a file system that is not mounted when the server
// starts: nothing is made in its place, and once it is there it is used.
func TestHomeOnMount(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mount", "safelight")
	s := start(t, "", "SAFELIGHT_STORE_SOURCES=file://"+dir)
	body := jpegOf(t, scene(60, 40, 1))
	a, _ := s.upload(file{name: "a.jpg", bytes: body})
	if a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "there is no directory") || s.get("/readyz").status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Error("the directory was made")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		a, _ := s.upload(file{name: "a.jpg", bytes: body})
		return a.status == http.StatusCreated
	}, func() string { return s.log.String() })
	checkPicture(t, s, "a.jpg", body)
	if s.get("/readyz").status != http.StatusOK || len(filesUnder(t, filepath.Join(dir, "sources"))) != 1 {
		t.Errorf("health %s, %v", s.get("/healthz").body, filesUnder(t, dir))
	}
}

// TestHomeNotMounted: a mount point with nothing mounted does not pass for a home
// that has lost everything, and takes no uploads.
func TestHomeNotMounted(t *testing.T) {
	t.Parallel()
	mount := filepath.Join(t.TempDir(), "mount")
	for _, err := range []error{os.Mkdir(mount, 0o755), os.Mkdir(mount+".empty", 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"SAFELIGHT_STORE_SOURCES=file://" + mount, "SAFELIGHT_PIPELINE_ENCODER=none"}
	swap := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, "", env...)
	original := jpegOf(t, scene(60, 40, 1))
	if a, _ := s.upload(file{name: "a.jpg", bytes: original}); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	swap(mount, mount+".away")
	swap(mount+".empty", mount)
	for range 2 { // also when the first attempt has left something there
		if said := refusedStart(t, s.data, env...); !strings.Contains(said, "there are images, but store.sources") || !strings.Contains(said, mount) {
			t.Errorf("without its mount it says:\n%s", said)
		}
	}
	swap(mount, mount+".empty")
	swap(mount+".away", mount)
	s = start(t, s.data, env...)
	checkPicture(t, s, "a.jpg", original)
}

// TestOtherHome: a server does not take pictures into a home that is not that of
// its database, whichever of the two is the wrong one.
func TestOtherHome(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	env := func(prefix string) []string {
		return homeEnv(s3test.URL(storage.Endpoint, "photos", prefix))
	}
	storage.Bucket("photos", "")
	s := start(t, "", env("one")...)
	original := jpegOf(t, scene(60, 40, 1))
	if a, _ := s.upload(file{name: "a.jpg", bytes: original}); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if said := refusedStart(t, s.data, env("two")...); !strings.Contains(said, "there are images, but store.sources: s3://photos/two") {
		t.Errorf("with an empty bucket it says:\n%s", said)
	}
	if said := refusedStart(t, s.data, "SAFELIGHT_PIPELINE_ENCODER=none"); !strings.Contains(said, "there are images, but data: "+s.data) {
		t.Errorf("without store.sources it says:\n%s", said)
	}
	if said := refusedStart(t, t.TempDir(), env("one")...); !strings.Contains(said, "belongs to another installation") {
		t.Errorf("with another catalog it says:\n%s", said)
	}
	s = start(t, s.data, env("one")...)
	checkPicture(t, s, "a.jpg", original)
}
