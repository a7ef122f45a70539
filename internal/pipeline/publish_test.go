package pipeline

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/work"
)

func TestFromUploadToPublished(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x", "y"}, secrets: []string{"z"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	r := f.row(img, "small")
	if r.Encoder != "fake 1.0" {
		t.Errorf("%+v", r)
	}
	f.wantObjects("x", "original.jpg", "small.jpg")
	f.wantObjects("y", "original.jpg", "small.jpg")
	f.wantObjects("z", "small.jpg")
	for _, d := range []string{"x", "y", "z"} {
		info, err := os.Stat(f.object(img, "small", d))
		if err != nil || info.Size() != r.Bytes {
			t.Errorf("%s has not the optimised one: %v, %v", d, info, err)
		}
	}
	out := f.must(about(Publish, img, args{Destination: "x"}))
	if p := out.Result.(publication); p.Destination != "x" || p.SHA256 != img.Source.Digest || p.Bytes != img.Source.Bytes || !strings.HasSuffix(p.Name, "/original.jpg") {
		t.Errorf("%+v", p)
	}
	f.delete(img)
	f.settled()
	for _, d := range []string{"x", "y", "z"} {
		f.wantObjects(d)
	}
}

func TestPublishOfWhatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	if got := did(f.must(about(Publish, img, args{Preset: "small", Destination: "x"}))); !strings.Contains(got, "skipped") {
		t.Errorf("a rendition that is not there yet: %s", got)
	}
	_, err := f.do(about(Publish, img, args{Destination: "nix"}))
	wantKind(t, err, fault.Unavailable, "nix") // it may come back
	f.must(about(Publish, img, args{Destination: "x"}))
	path := f.object(img, "", "x")
	// Deleted, and the farewell has not been carried out.
	f.delete(img)
	if got := did(f.must(about(Publish, img, args{Destination: "x"}))); got != `{"skipped":"the image was deleted"} ` {
		t.Error(got)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the object is still there: %v", err)
	}
}

func TestUnpublishOfALivingImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x", "y"}, presets: map[string]string{"small": "w=100", "tiny": "w=30"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	f.must(about(Unpublish, img, args{Preset: "small", Destination: "x"}))
	f.wantObjects("x", "original.jpg", "tiny.jpg")
	f.must(about(Unpublish, img, args{Preset: "tiny"})) // wherever it is
	f.wantObjects("x", "original.jpg")
	f.wantObjects("y", "original.jpg", "small.jpg")
	f.must(about(Unpublish, img, args{Destination: "x"})) // the source
	f.wantObjects("x")
	f.loseAtHome(blob.SourceName(img.Source.Digest.String()))
	out := f.must(about(Unpublish, img, args{}))
	f.wantObjects("y", "original.jpg") // the only copy
	if got := did(out); !strings.Contains(got, `"kept":["`+img.ID.String()+`/original.jpg"]`) {
		t.Error(got)
	}
	f.must(about(Publish, img, args{Destination: "x"})) // and it can go out again
	f.wantObjects("x", "original.jpg")
	f.must(about(Unpublish, img, args{Preset: "nix", Destination: "nix"}))
	f.delete(img)
	f.settled()
	f.wantObjects("x")
	f.wantObjects("y")
}

// Between the look at the home store and the withdrawal, the home copy may
// expire: one of the two has to see the other.
func TestUnpublishMeetsExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	for range 30 {
		img := f.upload("a", picture(20, 15, 0))
		f.settled()
		done := make(chan error, 2)
		go func() { _, err := f.do(about(Unpublish, img, args{})); done <- err }()
		go func() {
			_, err := f.Publish.Expire(t.Context(), img, time.Now().Add(time.Hour))
			done <- err
		}()
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		r, err := f.Home.Open(t.Context(), blob.SourceName(img.Source.Digest.String()))
		if err != nil {
			t.Fatalf("the source is nowhere: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		f.delete(img)
		f.settle()
	}
}

// fence is that of nodes in one process.
type fence struct{ raised sync.Map }

func (f *fence) Raise(_ context.Context, digest string) (lower func(context.Context) error, err error) {
	if _, there := f.raised.LoadOrStore(digest, true); there {
		return nil, fault.New(fault.Conflict, "another node is removing the same bytes")
	}
	return func(context.Context) error { f.raised.Delete(digest); return nil }, nil
}

// whileRemoved is a store in which something happens before a removal.
type whileRemoved struct {
	blob.Store
	happens func()
}

func (s *whileRemoved) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	s.happens()
	return s.Store.Delete(ctx, name, unless)
}

// The same between two nodes: while one removes the home copy, the other must not
// withdraw the object for which it goes.
func TestUnpublishMeetsExpireElsewhere(t *testing.T) {
	t.Parallel()
	a := newFixture(t, setup{destinations: []string{"x"}})
	b := newFixture(t, setup{over: a})
	shared := &fence{}
	a.Home.Fence, b.Home.Fence = shared, shared
	img := a.upload("a", picture(20, 15, 0))
	a.settled()
	calls := 0
	b.Home.Store = &whileRemoved{b.Home.Store, func() {
		calls++
		if _, err := a.do(about(Unpublish, img, args{Destination: "x"})); fault.Of(err) != fault.Unavailable {
			t.Errorf("the source is withdrawn while its home copy goes: %v", err)
		}
	}}
	if _, err := b.Publish.ExpireSource(t.Context(), img, time.Now().Add(time.Hour)); err != nil || calls != 1 {
		t.Fatal(calls, err)
	}
	if got := did(a.must(about(Unpublish, img, args{Destination: "x"}))); !strings.Contains(got, "original.jpg") {
		t.Errorf("it is not kept: %s", got)
	}
	r, err := b.Home.Open(t.Context(), blob.SourceName(img.Source.Digest.String()))
	if err != nil {
		t.Fatalf("the source is nowhere: %v", err)
	}
	_ = r.Close()
	r, err = a.Home.Open(t.Context(), blob.SourceName(img.Source.Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}

func TestDeadPublicationIsWithdrawn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	if f.functions[Publish].Policy.OnDead != Unpublish {
		t.Error("what is left of a dead publication stays")
	}
	f.loseAtHome(blob.SourceName(img.Source.Digest.String()))
	// Dead though it is there: it must not go, as it is the only copy.
	if got := did(f.must(about(Unpublish, img, args{Destination: "x", Object: "o"}))); !strings.Contains(got, "original.jpg") {
		t.Error(got)
	}
	f.wantObjects("x", "original.jpg", "small.jpg")
}

func TestExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}, config: func(c *Config) { c.Expire = time.Hour }})
	f.config.Expire = -time.Hour // everything is old enough
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	source, rendition := blob.SourceName(img.Source.Digest.String()), blob.RenditionName(f.row(img, "small").Digest.String())
	expire := about(Expire, img, args{})
	if got := did(f.must(expire)); got != `{"removed":0} ` || !f.atHome(source) || !f.atHome(rendition) {
		t.Errorf("what is not published has expired: %s", got)
	}
	f.must(about(Publish, img, args{Destination: "x"}))
	if got := did(f.must(expire)); got != `{"removed":1} ` || f.atHome(source) || !f.atHome(rendition) {
		t.Errorf("the source: %s", got)
	}
	f.must(about(Publish, img, args{Preset: "small", Destination: "x"}))
	if got := did(f.must(expire)); got != `{"removed":1} ` || f.atHome(rendition) {
		t.Errorf("the rendition: %s", got)
	}
	if got := did(f.must(expire)); got != `{"removed":0} ` {
		t.Errorf("again: %s", got)
	}
	f.emptyCaches(img)
	f.wantServed(img, "small", f.row(img, "small").Digest)
	if n := f.renders.Load(); n != 1 {
		t.Errorf("rendered %d times", n)
	}
	c, err := f.Input(t.Context(), about("custom", img, args{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if data, err := io.ReadAll(c); err != nil || int64(len(data)) != img.Source.Bytes {
		t.Errorf("the original has %d bytes, %v", len(data), err)
	}
	f.must(about(Optimize, img, args{Preset: "small"})) // from a recalled source
	if r := f.row(img, "small"); r.Encoder == "" || !f.atHome(blob.RenditionName(r.Digest.String())) {
		t.Errorf("%+v", r)
	}
	// A render finds what is published.
	again := f.row(img, "small")
	f.must(about(Publish, img, args{Preset: "small", Destination: "x"}))
	f.must(expire)
	f.must(about(Render, img, args{Preset: "small"}))
	if f.row(img, "small") != again || f.atHome(blob.RenditionName(again.Digest.String())) {
		t.Errorf("%+v", f.row(img, "small"))
	}
}

func TestExpireIsPutOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}, config: func(c *Config) { c.Expire = time.Hour }})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	before := time.Now()
	out := f.must(about(Publish, img, args{Destination: "x"}))
	if len(out.Next) != 1 || out.Next[0].Function != Expire || out.Next[0].RunAt.Before(before.Add(time.Hour)) || out.Next[0].Name != img.ID.String() {
		t.Fatalf("%+v", out.Next)
	}
	_, err := f.do(about(Expire, img, args{}))
	if want := work.Postpone(6*time.Minute, "a local copy is kept: not old enough"); err != want {
		t.Errorf("%#v", err)
	}
	f.config.Expire = -time.Hour
	if err := os.WriteFile(f.object(img, "", "x"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = f.do(about(Expire, img, args{}))
	if err == nil || !strings.Contains(err.Error(), "could not be read back") || !f.atHome(blob.SourceName(img.Source.Digest.String())) {
		t.Errorf("%v", err)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x", "y"}})
	whole, lost, bare := f.upload("a", picture(200, 150, 0)), f.upload("b", picture(200, 150, 1)), f.upload("c", picture(200, 150, 2))
	f.settled()
	reconcile := func() string { return did(f.must(about(Reconcile, asset.Image{}, args{}))) }
	if got := reconcile(); !strings.Contains(got, `"due":0`) || !strings.Contains(got, `"checked":12`) || !strings.Contains(got, `"strays":0`) {
		t.Fatal(got)
	}
	if err := os.Remove(f.object(lost, "", "x")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.object(lost, "small", "y"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.object(bare, "", "x")+".stray", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := reconcile(); !strings.Contains(got, `"due":2`) || !strings.Contains(got, `"missing":1`) || !strings.Contains(got, `"resized":1`) || !strings.Contains(got, `"strays":1`) {
		t.Error(got)
	}
	f.settled()
	if got := reconcile(); !strings.Contains(got, `"due":0`) {
		t.Error(got)
	}
	// A preset that is new.
	f = newFixture(t, setup{over: f, presets: map[string]string{"small": "w=100", "tiny": "w=30"}})
	if got := reconcile(); !strings.Contains(got, `"unrendered":6`) || f.waiting(Render) != 3 {
		t.Error(got)
	}
	f.settled()
	for _, img := range []asset.Image{whole, lost, bare} {
		f.row(img, "tiny")
		f.object(img, "tiny", "x")
	}
	if got := reconcile(); !strings.Contains(got, `"due":0`) {
		t.Error(got)
	}
	f = newFixture(t, setup{presets: map[string]string{"small": "w=100"}})
	if got := reconcile(); got != `{"skipped":"there are no destinations"} ` {
		t.Error(got)
	}
}

// A rendition can be made again, wherever its bytes were lost.
func TestReconcileMakesLostRenditionsAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*fixture, asset.Image, string){
		"at home, before it was published": func(f *fixture, img asset.Image, home string) {
			f.must(about(Unpublish, img, args{Preset: "small"}))
			f.loseAtHome(home)
		},
		"at the only destination, after it had expired": func(f *fixture, img asset.Image, home string) {
			path := f.object(img, "small", "x")
			f.loseAtHome(home)
			if err := os.Remove(path); err != nil {
				f.t.Fatal(err)
			}
		},
		"damaged there": func(f *fixture, img asset.Image, home string) {
			f.loseAtHome(home)
			if err := os.WriteFile(f.object(img, "small", "x"), []byte("short"), 0o600); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, setup{destinations: []string{"x"}})
			img := f.upload("a", picture(200, 150, 0))
			f.settled()
			lose(f, img, blob.RenditionName(f.row(img, "small").Digest.String()))
			f.emptyCaches(img)
			f.must(about(Reconcile, asset.Image{}, args{}))
			f.settled()
			r := f.row(img, "small")
			info, err := os.Stat(f.object(img, "small", "x"))
			if err != nil || info.Size() != r.Bytes || !f.atHome(blob.RenditionName(r.Digest.String())) || r.Encoder == "" {
				t.Errorf("%v, %v, %+v", info, err, r)
			}
		})
	}
}

func TestReconcileOfASourceThatIsLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	f.loseAtHome(blob.SourceName(img.Source.Digest.String()))
	path := f.object(img, "", "x")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.must(about(Reconcile, asset.Image{}, args{}))
	if dead := f.settle(); len(dead) != 1 || !strings.Contains(dead[0], "publish: ") { // it is told, not forgotten
		t.Errorf("%v", dead)
	}
	rows, err := f.db.PublicationsOf(t.Context(), img.ID)
	if err != nil || len(rows) != 2 || rows[0].State != catalog.Confirmed {
		t.Errorf("%+v, %v", rows, err) // the object may come back
	}
}

// What reconcile submits is what a render would have.
func TestReconcileTellsWorkersTheName(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	for _, preset := range []string{"", "small"} {
		if err := os.Remove(f.object(img, preset, "x")); err != nil {
			t.Fatal(err)
		}
	}
	f.must(about(Reconcile, asset.Image{}, args{}))
	var seen int
	for _, k := range f.list(Publish) {
		a, err := argsOf(k)
		if err != nil || !strings.HasSuffix(a.Object, ".jpg") {
			t.Errorf("%+v, %v", a, err)
		}
		seen++
	}
	if seen != 2 {
		t.Errorf("%d publications are due", seen)
	}
}

func TestFarewell(t *testing.T) {
	t.Parallel()
	if tasks := newFixture(t, setup{}).Farewell(); tasks != nil {
		t.Errorf("%+v", tasks)
	}
	if tasks := newFixture(t, setup{destinations: []string{"x"}}).Farewell(); len(tasks) != 1 || tasks[0].Function != Unpublish {
		t.Errorf("%+v", tasks)
	}
}
