package publish

import (
	"context"
	"os"
	"strings"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/recall"
)

// away makes an image whose source is published at destinations and not at
// home any more.
func (f *fixture) away(data string, destinations ...string) (asset.Image, []catalog.Publication) {
	f.t.Helper()
	img := f.upload("main", asset.CleanName(data[:6]), data)
	var published []catalog.Publication
	for _, d := range destinations {
		published = append(published, f.publish(img, "", d))
	}
	f.expired(img, future(), 1)
	return img, published
}

func (f *fixture) damage(p catalog.Publication) {
	f.t.Helper()
	data, err := os.ReadFile(f.object(p))
	if err != nil {
		f.t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(f.object(p), data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// temps counts the temporary files of the home store and of the cache.
func (f *fixture) temps() int {
	f.t.Helper()
	n := -1 // the lock
	for _, dir := range []string{f.homeDir + "/tmp/local", f.keptDir + "/tmp"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			f.t.Fatal(err)
		}
		n += len(files)
	}
	return n
}

func TestRecall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	data := strings.Repeat("source ", 100_000)
	img, published := f.away(data, "x")
	name := blob.SourceName(img.Source.Digest.String())
	f.wantOpens(name, data)
	f.damage(published[0])
	f.wantOpens(name, data) // from the cache
	if err := os.Remove(f.object(published[0])); err != nil {
		t.Fatal(err)
	}
	f.wantOpens(name, data)
	if n := f.temps(); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
	f.kept.ForgetPlace(recall.Place(img.Source.Digest))
	_, err := f.home.Open(t.Context(), name)
	wantKind(t, err, fault.Unavailable) // it may come back
}

func TestRecalledRenditionGoesWithItsSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	r := f.render(img, "thumb", format.JPEG, "thumb")
	p := f.publish(img, "thumb", "x")
	f.expired(img, future(), 1, "not published")
	name := blob.RenditionName(r.Digest.String())
	f.wantOpens(name, "thumb")
	f.damage(p)
	f.wantOpens(name, "thumb")
	f.kept.ForgetPlace(recall.Place(img.Source.Digest))
	_, err := f.home.Open(t.Context(), name)
	wantKind(t, err, fault.Internal)
}

func TestRecallOfDamagedObjects(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img, published := f.away("source", "x", "y")
	name := blob.SourceName(img.Source.Digest.String())
	f.damage(published[0])
	f.wantOpens(name, "source") // the other has it
	f.kept.ForgetPlace(recall.Place(img.Source.Digest))
	f.damage(published[1])
	_, err := f.home.Open(t.Context(), name)
	wantKind(t, err, fault.Internal)
	if !strings.Contains(err.Error(), "x: ") || !strings.Contains(err.Error(), "y: ") {
		t.Errorf("it does not name both: %v", err)
	}
	if err := os.Remove(f.object(published[1])); err != nil {
		t.Fatal(err)
	}
	_, err = f.home.Open(t.Context(), name)
	wantKind(t, err, fault.Unavailable)
	if n := f.kept.Stats().Entries; n != 0 {
		t.Errorf("damaged bytes were kept: %d", n)
	}
	if n := f.temps(); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

func TestRecallOfWhatIsNowhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	digest := asset.Digest{1}.String()
	for _, name := range []string{blob.SourceName(digest), blob.RenditionName(digest), "other/" + digest, "sources/" + digest, "x"} {
		_, err := f.home.Recall(t.Context(), name)
		wantKind(t, err, fault.NotFound)
	}
	p := f.publish(img, "", "x")
	if err := f.db.Intend(t.Context(), p); err != nil { // not confirmed any more
		t.Fatal(err)
	}
	_, err := f.home.Recall(t.Context(), blob.SourceName(img.Source.Digest.String()))
	wantKind(t, err, fault.NotFound)
}

func TestRecallIsTheLastCopysWayBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img, published := f.away("source", "x")
	f.wantObject(f.publish(img, "", "y"), "source") // out of the other destination
	if err := os.Remove(f.object(published[0])); err != nil {
		t.Fatal(err)
	}
	f.publish(img, "", "x") // and back
	f.wantObject(published[0], "source")

	img, published = f.away("only copy", "x")
	hidden := f.object(published[0]) + ".hidden" // as a mount that is away
	if err := os.Rename(f.object(published[0]), hidden); err != nil {
		t.Fatal(err)
	}
	_, err := f.Publish(t.Context(), img, "", "x")
	wantKind(t, err, fault.Unavailable)
	f.wantState(img, catalog.Confirmed) // or nobody would look there again
	if err := os.Rename(hidden, f.object(published[0])); err != nil {
		t.Fatal(err)
	}
	f.wantOpens(blob.SourceName(img.Source.Digest.String()), "only copy")
}

func TestRecallIsCancelledWithItsLastCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img, _ := f.away("source", "x")
	gone, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	gate := make(chan struct{})
	f.stores["x"].onOpen = func(string) { cancel(); <-gate; close(done) }
	_, err := f.home.Open(gone, blob.SourceName(img.Source.Digest.String()))
	wantKind(t, err, fault.Canceled)
	f.stores["x"].onOpen = nil
	close(gate)
	<-done
	f.wantOpens(blob.SourceName(img.Source.Digest.String()), "source")
}
