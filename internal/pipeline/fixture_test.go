package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/codec"
	"safelight/internal/codec/worker"
	"safelight/internal/diskblob"
	"safelight/internal/diskcache"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/memcache"
	"safelight/internal/plan"
	"safelight/internal/publish"
	"safelight/internal/purge"
	"safelight/internal/recall"
	"safelight/internal/recompress"
	"safelight/internal/render"
	"safelight/internal/sqlite"
	"safelight/internal/task"
	"safelight/internal/work"
)

// pool is the codec of all tests; the test binary is its own codec process.
var pool *codec.Pool

type suite struct{ m *testing.M }

func (s suite) Run() int {
	config := codec.DefaultConfig()
	config.Command, config.Processes = []string{"/proc/self/exe"}, 2
	var err error
	if pool, err = codec.Open(context.Background(), config, slog.New(slog.DiscardHandler)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := s.m.Run()
	_ = pool.Close()
	return code
}

func TestMain(m *testing.M) {
	if os.Getenv("SAFELIGHT_CODEC_CHILD") != "" {
		os.Exit(worker.Main())
	}
	goleak.VerifyTestMain(suite{m})
}

// codecs is the pool as the services see it.
type codecs struct{ renders *atomic.Int32 }

func (c codecs) Render(ctx context.Context, _ render.Urgency, job plan.Job, inputs ...*os.File) (*render.Encoded, error) {
	c.renders.Add(1)
	out, err := pool.Run(ctx, codec.Background, job, inputs...)
	if err != nil {
		return nil, err
	}
	return &render.Encoded{Result: out.Result, File: out.File, Bytes: out.Bytes, CPU: out.CPU}, nil
}

func (codecs) Inspect(ctx context.Context, job plan.Job, source *os.File) (plan.Result, error) {
	out, err := pool.Run(ctx, codec.Verify, job, source)
	if err != nil {
		return plan.Result{}, err
	}
	return out.Result, out.Close()
}

// encoder is a fake that gives what encode makes of the picture.
type encoder struct {
	t      *testing.T
	encode func(image.Image) []byte
	before func() // if set, called while it encodes
	err    error
	calls  int
}

func (e *encoder) Encode(_ context.Context, picture *os.File, pixels int64, quality int) (*Encoded, error) {
	e.calls++
	if e.err != nil {
		return nil, e.err
	}
	if e.before != nil {
		e.before()
	}
	m, err := png.Decode(picture)
	if err != nil {
		return nil, err
	}
	if got := int64(m.Bounds().Dx()) * int64(m.Bounds().Dy()); got != pixels || quality < 1 || quality > 100 {
		e.t.Errorf("the encoder was told of %d pixels and quality %d; the picture has %d", pixels, quality, got)
	}
	f, err := os.CreateTemp(e.t.TempDir(), "")
	if err != nil {
		return nil, err
	}
	n, err := f.Write(e.encode(m))
	return &Encoded{File: f, Bytes: int64(n), CPU: 2 * time.Second}, err
}

func (e *encoder) Name() string { return "fake 1.0" }

func jpegOf(quality int) func(image.Image) []byte {
	return func(m image.Image) []byte {
		var b bytes.Buffer
		_ = jpeg.Encode(&b, m, &jpeg.Options{Quality: quality})
		return b.Bytes()
	}
}

func pngOf(m image.Image) []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, m)
	return b.Bytes()
}

// picture has something to see in it; another seed gives another one.
func picture(w, h, seed int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(x*255/w + seed), uint8(y * 255 / h), uint8((x*y ^ x) & 127), 255})
		}
	}
	return m
}

type fixture struct {
	*Service
	t         *testing.T
	db        *sqlite.DB
	tasks     *sqlite.Tasks
	functions map[string]work.Function
	encoder   *encoder
	renders   atomic.Int32

	transcoder *transcoder
	saved      atomic.Int64
	kept       recall.Purger
	caches     []cache.Cache
	home       blob.Store
	stores     map[string]blob.Store
	dirs       map[string]string
}

// Saved implements the pipeline's metrics.
func (f *fixture) Saved(bytes int64) { f.saved.Add(bytes) }

// setup is what a test wants different.
type setup struct {
	config       func(*Config)
	presets      map[string]string
	destinations []string
	secrets      []string // destinations that get no sources
	over         *fixture // whose database and stores go on, with another configuration
}

func newFixture(t *testing.T, s setup) *fixture {
	t.Helper()
	f := &fixture{t: t, dirs: map[string]string{}, stores: map[string]blob.Store{}, encoder: &encoder{t: t, encode: jpegOf(20)}}
	if s.presets == nil {
		s.presets = map[string]string{"small": "w=100"}
	}
	config := DefaultConfig()
	config.Expire, config.Encoder = 0, EncoderGuetzli
	if s.config != nil {
		s.config(&config)
	}
	if err := config.Validate(s.presets); err != nil {
		t.Fatal(err)
	}
	f.functions = config.Functions()
	mint := asset.NewMint([]byte("secret"))
	if s.over != nil {
		f.db, f.tasks, f.home, f.stores, f.dirs = s.over.db, s.over.tasks, s.over.home, s.over.stores, s.over.dirs
	} else {
		var err error
		if f.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.db.Close() })
		policies := work.DefaultConfig().Policies(f.functions)
		if f.tasks, err = f.db.Tasks(t.Context(), task.Config{Mint: mint, Policies: policies, Signals: task.NewSignals()}); err != nil {
			t.Fatal(err)
		}
		f.home = openStore(t, t.TempDir())
		for _, name := range append(s.destinations, s.secrets...) {
			f.dirs[name] = t.TempDir()
			f.stores[name] = openStore(t, f.dirs[name])
		}
	}
	home := blob.NewHome(f.home)
	memory, err := memcache.New(memcache.Config{MaxBytes: 10 << 20})
	if err != nil {
		t.Fatal(err)
	}
	disk, err := diskcache.Open(diskcache.Config{Dir: t.TempDir(), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	f.caches = []cache.Cache{memory, disk}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	pub := publish.DefaultConfig()
	for name, dir := range f.dirs {
		pub.Destinations[name] = publish.Destination{URL: "file://" + dir, Name: "{id}/{preset}.{ext}"}
		if slices.Contains(s.secrets, name) {
			no := false
			d := pub.Destinations[name]
			d.Sources = &no
			pub.Destinations[name] = d
		}
	}
	publisher, err := publish.New(pub, f.stores, home, f.db, log)
	if err != nil {
		t.Fatal(err)
	}
	c := codecs{&f.renders}
	f.transcoder = &transcoder{}
	small := recompress.New(home, f.db, f.transcoder, log)
	kept, err := blobcache.Open(blobcache.Config{Dir: t.TempDir(), MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	f.kept = recall.Purger{Cache: kept}
	home.Recall = recall.New(kept, f.db, small.Fetch, publisher.Fetch).Open
	rc := render.DefaultConfig()
	purger := purge.New(purge.Deps{Catalog: f.db, Janitor: f.db, Outputs: f.tasks, Caches: f.caches, Blobs: f.kept, Log: log, Farewell: func() []task.New { return f.Farewell() }})
	deps := Deps{
		Catalog: f.db, Queue: f.tasks, Home: home, Render: render.New(rc, home, f.db, f.db, memory, disk, c, log), Publish: publisher, Purge: purger,
		Codec: c, Encoder: f.encoder, OptimizePixels: math.MaxInt64, Quality: rc.Plan.JPEGQuality, Presets: s.presets,
		Sweep: purge.SweepConfig{ReplayKept: time.Hour, TempAge: time.Hour}, Metrics: f, Log: log, MaxOutput: 1 << 20,
		Recompress: small, CanRecompress: slices.Contains(pool.Info().Features, "jpeg-xl-transcoding"),
	}
	if f.Service, err = New(config, deps); err != nil {
		t.Fatal(err)
	}
	f.Bind(f.functions)
	return f
}

func openStore(t *testing.T, dir string) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var minted = asset.NewMint([]byte("images"))

// upload stores a JPEG as ingest does; submit tells whether its tasks are
// submitted with it.
func (f *fixture) upload(key string, m image.Image) asset.Image { return f.store(key, jpegOf(95)(m)) }

func (f *fixture) store(key string, data []byte) asset.Image {
	f.t.Helper()
	digest := asset.Digest(sha256.Sum256(data))
	name := blob.SourceName(digest.String())
	defer f.Home.Keep(name)()
	w, err := f.Home.Create(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Commit(f.t.Context(), name); err != nil {
		f.t.Fatal(err)
	}
	header, err := format.Probe(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		f.t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	img := asset.Image{ID: minted.New(now), Owner: "main", Name: key, Created: now, Source: asset.Source{Digest: digest, Bytes: int64(len(data)), Header: header}}
	stored, err := f.db.Commit(f.t.Context(), catalog.Change{Images: []catalog.NewImage{{Image: img, Keys: []string{key}, Tasks: f.ForNew(img)}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return stored[0].Image
}

func (f *fixture) delete(img asset.Image) {
	f.t.Helper()
	if err := f.Purge.Delete(f.t.Context(), img.Owner, img.ID); err != nil {
		f.t.Fatal(err)
	}
}

// about is a task of a function about an image.
func about(function string, img asset.Image, a args) task.Task {
	return task.Task{ID: asset.ID{1}, Owner: "main", Function: function, Image: img.ID, Args: a.encode(), Worker: "w"}
}

// do carries out a function, without the queue.
func (f *fixture) do(k task.Task) (work.Outcome, error) {
	return f.functions[k.Function].Do(f.t.Context(), &work.Run{Task: k})
}

func (f *fixture) must(k task.Task) work.Outcome {
	f.t.Helper()
	out, err := f.do(k)
	if err != nil {
		f.t.Fatalf("%s: %v", k.Function, err)
	}
	return out
}

// did is what became of a function: its result's JSON with the names of the
// functions that follow.
func did(out work.Outcome) string {
	text, _ := json.Marshal(out.Result)
	var next []string
	for _, n := range out.Next {
		next = append(next, n.Function)
	}
	return string(text) + " " + strings.Join(next, ",")
}

// settle carries out what is ready in the queue until nothing is; it answers
// what failed for good.
func (f *fixture) settle() []string {
	f.t.Helper()
	var dead []string
	names := slices.Collect(func(yield func(string) bool) {
		for name := range f.functions {
			if !yield(name) {
				return
			}
		}
	})
	for {
		claimed, err := f.tasks.Claim(f.t.Context(), task.Claim{Functions: names, Worker: "node:x", Max: 1, Lease: time.Minute})
		if err != nil {
			f.t.Fatal(err)
		}
		if len(claimed) == 0 {
			return dead
		}
		k := claimed[0]
		out, err := f.do(k)
		r := task.Report{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded, Next: out.Next}
		if err != nil && reflect.TypeOf(err) == reflect.TypeOf(work.Postpone(0, "")) {
			r.Kind, r.Next = task.Later, nil // and again at once
		} else if err != nil {
			r.Kind, r.Error, r.Final, r.Next = task.Failed, err.Error(), true, nil
			dead = append(dead, k.Function+": "+err.Error())
		} else if out.Result != nil {
			if r.Result, err = json.Marshal(out.Result); err != nil {
				f.t.Fatal(err)
			}
		}
		answers, err := f.tasks.Report(f.t.Context(), []task.Report{r})
		if err != nil || answers[0].Err != nil {
			f.t.Fatal(k.Function, err, answers)
		}
	}
}

func (f *fixture) settled() {
	f.t.Helper()
	if dead := f.settle(); len(dead) != 0 {
		f.t.Fatalf("%s", dead)
	}
}

// waiting counts live tasks of a function.
func (f *fixture) waiting(function string) int {
	f.t.Helper()
	return len(f.list(function))
}

// list lists them.
func (f *fixture) list(function string) []task.Task {
	f.t.Helper()
	page, err := f.tasks.List(f.t.Context(), task.Query{Limit: 1000, Filter: task.Filter{Function: function, States: []task.State{task.Scheduled, task.Ready, task.Running}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return page.Tasks
}

func (f *fixture) row(img asset.Image, preset string) catalog.Rendition {
	f.t.Helper()
	r, err := f.db.RenditionOf(f.t.Context(), img.Owner, img.ID, preset)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) atHome(name string) bool {
	f.t.Helper()
	_, err := f.Home.Stat(f.t.Context(), name)
	if err != nil && fault.Of(err) != fault.NotFound {
		f.t.Fatal(err)
	}
	return err == nil
}

// loseAtHome removes a blob behind everybody's back.
func (f *fixture) loseAtHome(name string) {
	f.t.Helper()
	gone, err := f.Home.Remove(f.t.Context(), name, time.Now().Add(time.Hour), func() (bool, error) { return true, nil })
	if err != nil || !gone {
		f.t.Fatal(gone, err)
	}
}

func (f *fixture) emptyCaches(img asset.Image) {
	f.t.Helper()
	for _, c := range f.caches {
		if err := c.Purge(f.t.Context(), img.Source.Digest); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.kept.Purge(f.t.Context(), img.Source.Digest); err != nil {
		f.t.Fatal(err)
	}
}

// served is the rendition that a client gets for a preset.
func (f *fixture) served(img asset.Image, preset string) ([]byte, render.Status) {
	f.t.Helper()
	e, status, err := f.Render.Rendition(f.t.Context(), img, f.presets[preset], plan.Accept{})
	if err != nil {
		f.t.Fatal(err)
	}
	c := fromEntry(e)
	defer c.Close()
	data, err := io.ReadAll(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return data, status
}

func (f *fixture) wantServed(img asset.Image, preset string, digest asset.Digest) render.Status {
	f.t.Helper()
	data, status := f.served(img, preset)
	if got := asset.Digest(sha256.Sum256(data)); got != digest {
		f.t.Fatalf("%d bytes with the SHA-256 %s are served, expected %s", len(data), got, digest)
	}
	return status
}

// objects lists what is at a destination, by presets.
func (f *fixture) objects(destination string) []string {
	f.t.Helper()
	var names []string
	err := f.stores[destination].List(f.t.Context(), "", func(i blob.Info) error {
		names = append(names, filepath.Base(i.Name))
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func (f *fixture) wantObjects(destination string, names ...string) {
	f.t.Helper()
	if got := f.objects(destination); !slices.Equal(got, names) {
		f.t.Fatalf("there are %v at %s, expected %v", got, destination, names)
	}
}

// object is the file of a publication.
func (f *fixture) object(img asset.Image, preset, destination string) string {
	f.t.Helper()
	rows, err := f.db.PublicationsOf(f.t.Context(), img.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range rows {
		if p.Preset == preset && p.Destination == destination {
			return filepath.Join(f.dirs[destination], p.Name)
		}
	}
	f.t.Fatalf("%q is not published at %s: %+v", preset, destination, rows)
	return ""
}

func wantKind(t *testing.T, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.Of(err) != kind || !strings.Contains(err.Error(), words) {
		t.Fatalf("got %v (%s), expected %s with %q", err, fault.Of(err), kind, words)
	}
}
