package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"safelight/internal/cdkblob/s3test"
)

// bucketEnv is a server's environment with a destination in a bucket.
func bucketEnv(url string) []string {
	return append(s3test.Env(),
		"SAFELIGHT_PRESETS={thumb: w=20}", "SAFELIGHT_DESTINATIONS={archive: {url: '"+url+"'}}", "SAFELIGHT_PIPELINE_ENCODER=none",
		"SAFELIGHT_PIPELINE_EXPIRE=1s", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms",
		"SAFELIGHT_OBJECTS_ATTEMPTS=2", "SAFELIGHT_OBJECTS_PAUSE=300ms", "SAFELIGHT_TASKS_DEFAULT_RETRY_UNIT=10ms",
	)
}

// TestWholeWayWithBucket takes an image to a bucket and back: it is published,
// its local copies expire, it is fetched from the bucket, and what is deleted
// goes from there.
func TestWholeWayWithBucket(t *testing.T) {
	storage := s3test.Start(t)
	url := storage.Bucket("photos", "some/where")
	data := t.TempDir()
	env := bucketEnv(url)
	s := start(t, data, env...)
	original := jpegOf(t, scene(600, 400, 1))
	_, stored := s.upload(file{name: "a.jpg", bytes: original})
	img := stored[0]
	home := func() []string {
		return append(filesUnder(t, filepath.Join(data, "sources")), filesUnder(t, filepath.Join(data, "renditions"))...)
	}
	eventually(t, func() bool { return len(home()) == 0 && s.settled(img.ID) }, func() string { return fmt.Sprintf("not expired: %v\n%s", home(), s.log) })
	d := s.describe(img.ID)
	thumb := d.Presets[0]
	for what, at := range map[string][]publishedInfo{"the original": d.Published, "the preset": thumb.Published} {
		if len(at) != 1 || at[0].State != "confirmed" {
			t.Fatalf("%s is published as %+v", what, at)
		}
		body, err := os.ReadFile(filepath.Join(storage.Dir, "photos", "some", "where", at[0].Name))
		if err != nil || digestOf(body) != at[0].SHA256 {
			t.Errorf("%s in the bucket: %v", what, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	emptyCaches(t, data)
	s = start(t, data, env...)
	if a := s.get(img.URL); a.status != 200 || !bytes.Equal(a.body, original) {
		t.Errorf("the original, fetched back: %d, %d bytes", a.status, len(a.body))
	}
	if a := s.get(thumb.URL); a.status != 200 || digestOf(a.body) != thumb.SHA256 {
		t.Errorf("the preset, fetched back: %d, %d bytes", a.status, len(a.body))
	}
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"destination archive":{"status":"ok"`) {
		t.Errorf("health: %s", a.body)
	}
	// One that is deleted while its objects are seconds old goes too.
	_, stored = s.upload(file{name: "b.jpg", bytes: jpegOf(t, scene(60, 40, 2))})
	eventually(t, func() bool { return len(s.describe(stored[0].ID).Published) == 1 }, func() string { return s.log.String() })
	for _, id := range []string{img.ID, stored[0].ID} {
		if a := s.do(http.MethodDelete, "/v1/images/"+id, nil); a.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
	}
	eventually(t, func() bool { return len(storage.Objects("photos")) == 0 }, func() string { return fmt.Sprint("still there: ", storage.Objects("photos")) })
	for _, secret := range []string{s3test.SecretKey, s3test.AccessKey} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has a key:\n%s", s.log)
		}
	}
	if left := filesUnder(t, filepath.Join(data, "spool")); len(left) != 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

// TestBucketAway uploads while the bucket's server is away: that does not keep
// anybody from uploading or looking, the destination is left alone between
// tries, and all is published once the server is back.
func TestBucketAway(t *testing.T) {
	storage := s3test.Start(t)
	url := storage.Bucket("photos", "")
	storage.Stop()
	s := start(t, "", append(bucketEnv(url), "SAFELIGHT_TASKS_DEFAULT_MAX_ATTEMPTS=1000", "SAFELIGHT_TASKS_DEFAULT_RETRY_MAX=300ms", "SAFELIGHT_PIPELINE_EXPIRE=0s")...)
	var ids []string
	for i := range 3 {
		a, stored := s.upload(file{name: fmt.Sprintf("%d.jpg", i), bytes: jpegOf(t, scene(60, 40, uint64(i)))})
		if a.status != http.StatusCreated {
			t.Fatalf("%d %s", a.status, a.body)
		}
		ids = append(ids, stored[0].ID)
	}
	metrics := func() string { return string(s.get("/metrics").body) }
	eventually(t, func() bool { return strings.Contains(metrics(), `destination_left_alone{destination="archive"} 1`) }, metrics)
	for _, id := range ids {
		if a := s.get("/v1/images/" + id); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"destination archive":{"status":"failed"`) || s.get("/readyz").status != 200 {
		t.Errorf("health: %s", a.body)
	}
	storage.Run()
	for _, id := range ids {
		published := func() bool {
			d := s.describe(id)
			return len(d.Published) == 1 && d.Published[0].State == "confirmed" && len(d.Presets[0].Published) == 1 && d.Presets[0].Published[0].State == "confirmed"
		}
		eventually(t, published, func() string { return fmt.Sprintf("%+v", s.describe(id)) })
	}
	if n := len(storage.Objects("photos")); n != 2*len(ids) {
		t.Errorf("there are %d objects: %v", n, storage.Objects("photos"))
	}
	for _, line := range []string{"a destination fails again and again|a bucket does not answer", "a destination answers again|a bucket answers again"} {
		if n := len(regexp.MustCompile(line).FindAllString(s.log.String(), -1)); n < 1 || n > 5 {
			t.Errorf("the log has %d lines of %q", n, line)
		}
	}
	if !strings.Contains(metrics(), `destination_left_alone{destination="archive"} 0`) {
		t.Error("the metrics say that the destination is still left alone")
	}
}
