package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/cdkblob/s3test"
)

// Keys of encryption.
const (
	keyOne = "a111111111111111111111111111111111111111111111111111111111111111"
	keyTwo = "b222222222222222222222222222222222222222222222222222222222222222"
)

// TestEncryption stores pictures without encryption, switches it on, changes the
// key, publishes and expires: no picture is lost, and none can be read from the
// disk.
func TestEncryption(t *testing.T) {
	t.Parallel()
	archive := t.TempDir()
	quiet := []string{"SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render, publish]", "SAFELIGHT_SWEEP_GRACE=0s"}
	s := start(t, "", quiet...)
	before := jpegOf(t, scene(300, 200, 1))
	_, files := s.upload(file{name: "before.jpg", bytes: before})
	eventually(t, func() bool { return s.settled(files[0].ID) }, func() string { return s.log.String() })
	if n := len(readable(t, s.data)); n < 2 {
		t.Fatalf("%d pictures can be read before encryption, which shows nothing", n)
	}
	// On: what was there is sealed too.
	s = restart(t, s, append(quiet, "SAFELIGHT_ENCRYPTION_KEYS=["+keyOne+"]")...)
	after := jpegOf(t, scene(320, 240, 2))
	_, more := s.upload(file{name: "after.jpg", bytes: after})
	eventually(t, func() bool { return s.settled(more[0].ID) && len(readable(t, s.data)) == 0 }, func() string {
		return fmt.Sprint(readable(t, s.data), s.log)
	})
	pictures := func() {
		t.Helper()
		for key, body := range map[string][]byte{"before.jpg": before, "after.jpg": after} {
			checkPicture(t, s, key, body)
			if a := s.get("/images/"+key, "Range", "bytes=100-199"); a.status != http.StatusPartialContent || !bytes.Equal(a.body, body[100:200]) {
				t.Errorf("a range of %s: %d, %d bytes", key, a.status, len(a.body))
			}
			for _, query := range []string{"?w=64&format=jpeg", "?w=111", "?w=50&format=webp"} {
				if a := s.get("/images/" + key + query); a.status != http.StatusOK {
					t.Errorf("%s%s: %d %s", key, query, a.status, a.body)
				}
			}
		}
		if left := readable(t, s.data); len(left) != 0 {
			t.Errorf("these can be read: %v", left)
		}
	}
	pictures()
	for _, want := range []string{`msg="the home store is encrypted" key=`, "all of the home store is encrypted with the present key"} {
		eventually(t, func() bool { return strings.Contains(s.log.String(), want) }, func() string { return "no word of it: " + want + s.log.String() })
	}
	// Another key, from a file; then without the first.
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(keyTwo+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = restart(t, s, append(quiet, "SAFELIGHT_ENCRYPTION_KEYS=['file:"+file+"', "+keyOne+"]")...)
	eventually(t, func() bool { return strings.Count(fmt.Sprint(sealedBy(t, s.data)), " ") == 0 }, func() string { return fmt.Sprint(sealedBy(t, s.data), s.log) })
	pictures()
	if err := s.stop(); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	for _, setting := range []string{"SAFELIGHT_ENCRYPTION_KEYS=[" + keyOne + "]", "SAFELIGHT_NODE=x"} {
		if out := refuses(t, s.data, setting); !strings.Contains(out, "which is not in encryption.keys") {
			t.Errorf("with %s a server says %s", setting, out)
		}
	}
	// Published, expired and brought back: there too nothing can be read.
	s = start(t, s.data, append(quiet, "SAFELIGHT_ENCRYPTION_KEYS=['file:"+file+"']", "SAFELIGHT_PIPELINE_EXPIRE=1s", "SAFELIGHT_SWEEP_EVERY=200ms",
		"SAFELIGHT_DESTINATIONS={archive: {url: 'file://"+archive+"', encrypt: true}}")...)
	third := jpegOf(t, scene(280, 210, 3))
	_, last := s.upload(fileOf("third.jpg", third))
	atHome := func() int { return len(filesUnder(t, filepath.Join(s.data, "sources"))) }
	eventually(t, func() bool { return s.settled(last[0].ID) && atHome() == 2 }, func() string {
		return fmt.Sprint(filesUnder(t, s.data), filesUnder(t, archive), s.log)
	})
	checkPicture(t, s, "third.jpg", third)
	checkPicture(t, s, "third.jpg", third)
	if kept := filesUnder(t, filepath.Join(s.data, "blobs")); len(kept) == 0 {
		t.Error("what was brought back is not kept")
	}
	if left := append(readable(t, s.data), readable(t, archive)...); len(left) != 0 || len(filesUnder(t, archive)) == 0 {
		t.Errorf("these can be read: %v", left)
	}
}

// TestEncryptedBucket has the home in a bucket, encrypted: nothing in the bucket
// or on the node's disk can be read.
func TestEncryptedBucket(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	env := homeEnv(storage.Bucket("photos", "home"), "SAFELIGHT_PRESETS={thumb: w=20&format=jpeg}", "SAFELIGHT_ENCRYPTION_KEYS=["+keyOne+"]",
		"SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms")
	s := start(t, "", env...)
	original := jpegOf(t, scene(600, 400, 1))
	_, stored := s.upload(fileOf("a.jpg", original))
	eventually(t, func() bool { return s.settled(stored[0].ID) }, func() string { return s.log.String() })
	s = restartWithoutCaches(t, s, env)
	manySizes(t, s, "a.jpg")
	checkPicture(t, s, "a.jpg", original)
	for _, dir := range []string{s.data, storage.Dir} {
		if left := readable(t, dir); len(left) != 0 {
			t.Errorf("these can be read: %v", left)
		}
	}
	if len(pictures(storage)) != 2 {
		t.Errorf("the bucket has %v", pictures(storage))
	}
	if a := s.do(http.MethodDelete, "/v1/images/"+stored[0].ID, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.body)
	}
	eventually(t, func() bool { return len(pictures(storage)) == 0 }, func() string { return fmt.Sprint(pictures(storage), s.log) })
	eventually(t, func() bool { return len(filesUnder(t, filepath.Join(s.data, "blobs"))) == 0 }, func() string {
		return fmt.Sprint("kept of what was deleted: ", filesUnder(t, filepath.Join(s.data, "blobs")))
	})
}

// fileOf is a file to upload.
func fileOf(name string, body []byte) file { return file{name: name, bytes: body} }

// restart stops a server and starts it with other settings.
func restart(t *testing.T, s *server, env ...string) *server {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatalf("the server ended with %v\n%s", err, s.log)
	}
	return start(t, s.data, env...)
}

// readable lists the files that have a picture in the clear.
func readable(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, name := range filesUnder(t, dir) {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has gone
		}
		for _, begin := range []string{"\xff\xd8\xff", "RIFF", "\x89PNG"} {
			if bytes.HasPrefix(data, []byte(begin)) {
				found = append(found, name)
			}
		}
	}
	return found
}

// sealedBy lists the keys that sources and renditions are sealed with.
func sealedBy(t *testing.T, data string) []string {
	t.Helper()
	keys := map[string]bool{}
	for _, name := range append(filesUnder(t, filepath.Join(data, "sources")), filesUnder(t, filepath.Join(data, "renditions"))...) {
		_, key, _ := strings.Cut(name, ".sealed-")
		keys[key] = true
	}
	var all []string
	for key := range keys {
		all = append(all, key)
	}
	return all
}

// refuses starts a server that must not start, and gives what it says.
func refuses(t *testing.T, data string, env ...string) string {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--data", data)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("the server started with %v", env)
	}
	return string(out)
}

// TestEncryptedTwice: a second server is kept out of a data directory also where
// that has nothing but caches in it.
func TestEncryptedTwice(t *testing.T) {
	t.Parallel()
	storage := s3test.Start(t)
	env := homeEnv(storage.Bucket("photos", "home"), "SAFELIGHT_ENCRYPTION_KEYS=["+keyOne+"]")
	s := start(t, "", env...)
	if said := refusedStart(t, s.data, env...); !strings.Contains(said, "in use by another server") {
		t.Errorf("a second server says:\n%s", said)
	}
}
