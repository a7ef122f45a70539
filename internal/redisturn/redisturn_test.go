package redisturn_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/memcache"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
	"safelight/internal/rediscache"
	"safelight/internal/redisturn"
	"safelight/internal/render"
)

type nobody struct{}

func (nobody) Call(string, time.Duration) {}

func startServer(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.For(t, redistest.Alone)
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	c := redis.DefaultConfig()
	c.URL, c.Timeout = redis.URL(url), 2*time.Second // the machine may be slow
	client, err := redis.Open(c, nobody{}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func variant(n int) asset.VariantKey { return asset.Variant(asset.Digest{}, fmt.Sprint(n)) }

func open(t *testing.T, url string, lease time.Duration) *redisturn.Turns {
	t.Helper()
	return redisturn.New(redisturn.Config{Lease: lease}, connect(t, url))
}

// taking is a Take under way.
type taking struct {
	turn render.Turn
	done func(error)
}

func begin(ctx context.Context, turns *redisturn.Turns, v asset.VariantKey) <-chan taking {
	out := make(chan taking, 1)
	go func() {
		turn, done := turns.Take(ctx, v)
		out <- taking{turn, done}
	}()
	return out
}

// waits tells that a Take waits: the server has noted it.
func waits(t *testing.T, s *redistest.Server, v asset.VariantKey) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		answer, err := s.Ask("EXISTS safelight:t:{" + v.String() + "}:w")
		if err == nil && answer == ":1" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody waits: %s, %v", answer, err)
		}
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	checkTurns(t, s.URL(), func(v asset.VariantKey) { waits(t, s, v) })
}

func TestTurnsInACluster(t *testing.T) {
	t.Parallel()
	g := redistest.For(t, redistest.StartCluster)
	client := connect(t, g.URL())
	checkTurns(t, g.URL(), func(v asset.VariantKey) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			replies, err := client.Do(t.Context(), redis.Command{Name: "EXISTS", Keys: []string{"safelight:t:{" + v.String() + "}:w"}})
			if err == nil && replies[0].Int() == 1 {
				return
			}
			if time.Now().After(end) {
				t.Fatal("nobody waits", err)
			}
		}
	})
}

// checkTurns has two nodes want one variant; waits returns when the second waits.
func checkTurns(t *testing.T, url string, waits func(asset.VariantKey)) {
	a, b := open(t, url, time.Minute), open(t, url, time.Minute)
	for _, c := range []struct {
		name string
		err  error
		want render.Turn
	}{
		{"made", nil, render.Ended},
		{"a picture that nobody can make", fault.New(fault.Unprocessable, "x"), render.Ended},
		{"nobody waits there any more", fault.New(fault.Canceled, "x"), render.Yours},
		{"too much to do there", fault.New(fault.Unavailable, "x"), render.Yours},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := variant(len(c.name))
			turn, done := a.Take(t.Context(), v)
			if turn != render.Yours {
				t.Fatalf("the first gets %d", turn)
			}
			if other, free := b.Take(t.Context(), variant(1000+len(c.name))); other != render.Yours {
				t.Errorf("another variant gets %d", other)
			} else {
				free(nil)
			}
			second := begin(t.Context(), b, v)
			waits(v)
			done(c.err)
			got := <-second
			if got.turn != c.want {
				t.Fatalf("the second gets %d, expected %d", got.turn, c.want)
			}
			if got.done != nil {
				got.done(nil)
			}
			if turn, done := a.Take(t.Context(), v); turn != render.Yours {
				t.Errorf("later it is %d", turn)
			} else {
				done(nil)
			}
		})
	}
}

// TestALeaseIsRenewed: who takes long keeps its turn; who dies does not.
func TestALeaseIsRenewed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const lease = 500 * time.Millisecond
	a, b := open(t, s.URL(), lease), open(t, s.URL(), lease)
	_, done := a.Take(t.Context(), variant(1))
	second := begin(t.Context(), b, variant(1))
	select {
	case got := <-second:
		t.Fatalf("the second gets %d after less than three leases", got.turn)
	case <-time.After(3 * lease):
	}
	done(nil)
	if got := <-second; got.turn != render.Ended {
		t.Fatalf("the second gets %d", got.turn)
	}

	dying := connect(t, s.URL())
	if turn, _ := redisturn.New(redisturn.Config{Lease: lease}, dying).Take(t.Context(), variant(2)); turn != render.Yours {
		t.Fatal(turn)
	}
	_ = dying.Close()
	if turn, done := b.Take(t.Context(), variant(2)); turn != render.Yours {
		t.Errorf("after the first has died the second gets %d", turn)
	} else {
		done(nil)
	}
}

// TestWaitsAreBounded: by half of the time that the request has, and by its end.
func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := open(t, s.URL(), time.Minute), open(t, s.URL(), time.Minute)
	_, done := a.Take(t.Context(), variant(1))
	defer done(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if turn, _ := b.Take(ctx, variant(1)); turn != render.Free || ctx.Err() != nil {
		t.Errorf("it gets %d, %v", turn, ctx.Err())
	}
	ctx, leave := context.WithCancel(t.Context())
	second := begin(ctx, b, variant(1))
	waits(t, s, variant(1))
	leave()
	if got := <-second; got.turn != render.Free {
		t.Errorf("who leaves gets %d", got.turn)
	}
	if n := b.Stats(); n.GaveUp == 0 || n.Taken != 0 {
		t.Errorf("%+v", n)
	}
}

func TestNoRedisNoTurns(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := open(t, s.URL(), time.Minute)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if turn, _ := a.Take(t.Context(), variant(1)); turn != render.Free {
		t.Errorf("without Redis it is %d", turn)
	}
}

// codec answers after a while with bytes of its own; it counts.
type codec struct {
	t       *testing.T
	bytes   int
	renders *atomic.Int32
	begun   chan struct{}
	release chan struct{}
}

func (c *codec) Render(ctx context.Context, _ render.Urgency, _ plan.Job, _ ...*os.File) (*render.Encoded, error) {
	c.renders.Add(1)
	select {
	case c.begun <- struct{}{}:
	default:
	}
	select {
	case <-c.release:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Canceled, ctx.Err(), "cancelled")
	}
	f, err := os.Create(filepath.Join(c.t.TempDir(), "result"))
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(strings.Repeat("x", c.bytes))
	return &render.Encoded{Result: plan.Result{Width: 5, Height: 4, Pages: 1}, File: f, Bytes: int64(c.bytes)}, err
}

// cluster is two services of two nodes that share a store and Redis.
type cluster struct {
	codec codec
	nodes [2]*render.Service
	img   asset.Image
}

func newCluster(t *testing.T, s *redistest.Server, bytes int) *cluster {
	t.Helper()
	c := &cluster{codec: codec{t: t, bytes: bytes, renders: &atomic.Int32{}, begun: make(chan struct{}, 1), release: make(chan struct{})}}
	store, err := diskblob.Open(diskblob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w, err := store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	digest := asset.Digest(sha256.Sum256([]byte("source")))
	if _, err := io.WriteString(w, "source"); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), blob.SourceName(digest.String())); err != nil {
		t.Fatal(err)
	}
	header := format.Header{Format: format.JPEG, Width: 400, Height: 300, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	c.img = asset.Image{Owner: "main", Source: asset.Source{Digest: digest, Bytes: 6, Header: header}}
	for i := range c.nodes {
		caches := [2]*memcache.Cache{}
		for k := range caches {
			if caches[k], err = memcache.New(memcache.Config{MaxBytes: 10 << 20, MaxEntryBytes: 5 << 20}); err != nil {
				t.Fatal(err)
			}
		}
		client := connect(t, s.URL())
		c.nodes[i] = render.New(render.DefaultConfig(), blob.NewHome(store), nil, nil, caches[0], caches[1], &c.codec, slog.New(slog.NewTextHandler(t.Output(), nil)))
		c.nodes[i].Share(rediscache.New(rediscache.DefaultConfig(), client), redisturn.New(redisturn.DefaultConfig(), client))
	}
	return c
}

// ask asks a node, and gives where the answer came from.
func (c *cluster) ask(t *testing.T, node int, query string) render.Status {
	t.Helper()
	o, err := options.Parse(query)
	if err != nil {
		t.Error(err)
		return 0
	}
	e, status, err := c.nodes[node].Rendition(context.Background(), c.img, o.Normalize(), plan.Accept{})
	if err != nil {
		t.Error(err)
		return 0
	}
	if e.Meta.Bytes != int64(c.codec.bytes) {
		t.Errorf("%d bytes are answered", e.Meta.Bytes)
	}
	_ = e.Close()
	return status
}

// TestOneRenderInTheCluster has many ask two nodes for one cold variant.
func TestOneRenderInTheCluster(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCluster(t, s, 100_000)
	var mu sync.Mutex
	from := make(map[render.Status]int)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			status := c.ask(t, i%2, "w=100")
			mu.Lock()
			defer mu.Unlock()
			from[status]++
		})
	}
	<-c.codec.begun
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // until the other node waits
		if answer, err := s.Ask("DBSIZE"); err == nil && answer == ":2" {
			break
		}
		if time.Now().After(end) {
			t.Error("the other node does not wait")
			break
		}
	}
	close(c.codec.release)
	wg.Wait()
	if n := c.codec.renders.Load(); n != 1 || from[render.Made] != 1 || from[render.FromShared] < 1 { // who comes late finds it too
		t.Errorf("%d renders: %v", n, from)
	}
}

// TestWhatIsTooLargeToShare is made by each node, once.
func TestWhatIsTooLargeToShare(t *testing.T) {
	t.Parallel()
	c := newCluster(t, startServer(t), 300_000)
	close(c.codec.release)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { c.ask(t, i%2, "w=100") })
	}
	wg.Wait()
	if n := c.codec.renders.Load(); n > 2 || n == 0 {
		t.Errorf("%d renders", n)
	}
}

// TestSharedGoesUp: what another node has made is answered without rendering, and
// from this node's own memory the next time.
func TestSharedGoesUp(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCluster(t, s, 1000)
	close(c.codec.release)
	if status := c.ask(t, 0, "w=100"); status != render.Made {
		t.Fatalf("first: %d", status)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // the token and the value
		if answer, err := s.Ask("DBSIZE"); err == nil && answer == ":2" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not shared")
		}
	}
	for _, want := range []render.Status{render.FromShared, render.FromMemory} {
		if status := c.ask(t, 1, "w=100"); status != want {
			t.Errorf("another node: %d, expected %d", status, want)
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if status := c.ask(t, 1, "w=100"); status != render.FromMemory {
		t.Errorf("without Redis: %d", status)
	}
	if status := c.ask(t, 1, "w=200"); status != render.Made {
		t.Errorf("without Redis: %d", status)
	}
}
