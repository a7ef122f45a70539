package e2e

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// madePresets are the presets of TestTaskCrashPipeline.
var madePresets = map[string]string{"small": "w=24&format=jpeg", "cover": "w=16&h=16&fit=cover&format=webp"}

// pipelineFunctions are those of the tasks that images leave behind at once.
var pipelineFunctions = []string{"render", "publish", "unpublish"}

// TestTaskCrashPipeline kills the server while photos are uploaded and deleted,
// and their presets rendered and published, and demands that in the end the
// destination holds what the catalog says, for each image all of it, and nothing
// else.
func TestTaskCrashPipeline(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	data, out := t.TempDir(), t.TempDir()
	env := []string{
		"SAFELIGHT_PRESETS=" + yamlMap(madePresets), "SAFELIGHT_DESTINATIONS={out: {url: 'file://" + out + "'}}",
		"SAFELIGHT_PIPELINE_STEPS=[render, publish]", "SAFELIGHT_PIPELINE_ENCODER=none", "SAFELIGHT_CODEC_PROCESSES=2",
		"SAFELIGHT_TASKS_DEFAULT_RETRY_UNIT=10ms", "SAFELIGHT_LOG_LEVEL=error",
	}
	photos := &photos{stored: make(map[string][sha256.Size]byte), deleted: make(map[string]bool), unsure: make(map[string]bool)}
	n := cycles(t)
	for cycle := range n {
		s := start(t, data, env...)
		photos.load(t, s, cycle, seed, time.Duration(20+r.IntN(600))*time.Millisecond)
	}
	s := start(t, data, append(env, "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms")...)
	t.Logf("%d kills: %d photos were acknowledged, %d deleted", n, len(photos.stored), len(photos.deleted))
	if len(photos.stored) < n || len(photos.deleted) == 0 {
		t.Error("the load was no load: too few photos were stored or deleted")
	}
	s.settle(t, pipelineFunctions...)
	photos.check(t, s, out)
	eventually(t, func() bool {
		return len(filesUnder(t, filepath.Join(data, "tmp"))) == 0 && len(filesUnder(t, filepath.Join(out, "tmp"))) == 0
	}, func() string {
		return fmt.Sprint("temporary files are left: ", filesUnder(t, filepath.Join(data, "tmp")), filesUnder(t, filepath.Join(out, "tmp")))
	})
}

func yamlMap(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+": '"+v+"'")
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// photos is what clients know of the images that they have uploaded.
type photos struct {
	mu      sync.Mutex
	stored  map[string][sha256.Size]byte // id → digest; acknowledged and not deleted
	deleted map[string]bool              // acknowledged
	unsure  map[string]bool              // a deletion had no answer
}

// load uploads from several clients, deletes now and then, and kills the server
// after a while.
func (p *photos) load(t *testing.T, s *server, cycle int, seed uint64, after time.Duration) {
	t.Helper()
	var clients sync.WaitGroup
	busy := s.live(t, pipelineFunctions...) > 200 // what the codecs can follow
	for c := range 2 {
		if busy {
			break
		}
		r := rand.New(rand.NewPCG(seed, uint64(cycle*2+c)+1))
		clients.Go(func() {
			for i := range 25 {
				picture := scene(40, 30, r.Uint64())
				body, name := jpegOf(t, picture), "photo.jpg"
				if i%3 == 0 {
					body, name = pngOf(t, picture), "photo.png"
				}
				if !p.upload(s, name, body, r.IntN(5) == 0) {
					return
				}
			}
		})
	}
	<-time.NewTimer(after).C
	s.kill()
	clients.Wait()
}

// upload stores a photo, and perhaps deletes it again; false is that the server
// is gone.
func (p *photos) upload(s *server, name string, body []byte, andDelete bool) bool {
	content, contentType := form(file{name: name, bytes: body})
	a, err := s.try(http.MethodPost, "/upload", content, "Content-Type", contentType)
	if err != nil || a.status != http.StatusCreated {
		return false
	}
	var doc struct{ Files []stored }
	a.json(s.t, &doc)
	id := doc.Files[0].ID
	p.mu.Lock()
	p.stored[id] = sha256.Sum256(body)
	p.mu.Unlock()
	if !andDelete {
		return true
	}
	a, err = s.try(http.MethodDelete, "/v1/images/"+id, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && a.status/100 == 2:
		p.deleted[id] = true
		delete(p.stored, id)
	default:
		p.unsure[id] = true
	}
	return err == nil
}

// published is an object at a destination.
type published struct{ Destination, Name, State, SHA256 string }

// shown is an image with what was made of it.
type shown struct {
	ID        string      `json:"id"`
	SHA256    string      `json:"sha256"`
	Published []published `json:"published"`
	Presets   []struct {
		Preset, State, SHA256, Error string
		Published                    []published
	} `json:"presets"`
}

// check compares the destination with the catalog, and that with what was
// acknowledged.
func (p *photos) check(t *testing.T, s *server, out string) {
	t.Helper()
	expected := make(map[string]string) // path → digest
	listed := make(map[string]bool)
	for cursor := ""; ; {
		var page struct {
			Images     []struct{ ID string } `json:"images"`
			NextCursor string                `json:"next_cursor"`
		}
		s.get("/v1/images?limit=1000&cursor="+cursor).json(t, &page)
		for _, img := range page.Images {
			listed[img.ID] = true
			var one shown
			s.get("/v1/images/"+img.ID).json(t, &one)
			if err := one.expect(expected); err != nil {
				t.Errorf("image %s: %v\n%+v", img.ID, err, one)
			}
			if sum, ok := p.stored[img.ID]; ok && one.SHA256 != fmt.Sprintf("%x", sum) {
				t.Errorf("image %s has the digest %s and was stored with %x", img.ID, one.SHA256, sum)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	for id := range p.stored {
		if !listed[id] && !p.unsure[id] {
			t.Errorf("image %s was acknowledged, and is not listed", id)
		}
	}
	for id := range p.deleted {
		if listed[id] {
			t.Errorf("image %s was deleted, and is listed", id)
		}
	}
	for _, path := range filesUnder(t, out) {
		name, _ := filepath.Rel(out, path)
		if strings.HasPrefix(name, "tmp/") {
			continue
		}
		if _, ok := expected[name]; !ok {
			t.Errorf("%s lies at the destination, and no image has it", name)
		}
	}
	for name, digest := range expected {
		body, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Errorf("%s should lie at the destination: %v", name, err)
			continue
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(body)); sum != digest {
			t.Errorf("%s has the digest %s; the catalog says %s", name, sum, digest)
		}
	}
	t.Logf("%d images have %d objects", len(listed), len(expected))
}

// expect adds the objects of an image, and tells what is missing.
func (s *shown) expect(objects map[string]string) error {
	add := func(what, digest string, at []published) error {
		if len(at) != 1 || at[0].State != "confirmed" || at[0].Destination != "out" || at[0].SHA256 != digest {
			return fmt.Errorf("%s, with the digest %s, is published as %+v", what, digest, at)
		}
		if objects[at[0].Name] != "" {
			return fmt.Errorf("the name %s is another image's", at[0].Name)
		}
		objects[at[0].Name] = digest
		return nil
	}
	if len(s.Presets) != len(madePresets) {
		return fmt.Errorf("it has %d presets", len(s.Presets))
	}
	for _, p := range s.Presets {
		if p.State != "rendered" {
			return fmt.Errorf("preset %s is %s: %s", p.Preset, p.State, p.Error)
		}
		if err := add("preset "+p.Preset, p.SHA256, p.Published); err != nil {
			return err
		}
	}
	return add("the original", s.SHA256, s.Published)
}
