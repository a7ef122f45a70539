package rediscatalog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/fault"
	"safelight/internal/purge"
	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
	"safelight/internal/rediscatalog"
	"safelight/internal/sqlite"
	"safelight/internal/task"
)

// server is shared by tests that leave it alone; each has a prefix of its own.
var server *redistest.Server

var prefixes atomic.Int64

func TestMain(m *testing.M) { redistest.Main(m, &server) }

type nobody struct{}

func (nobody) Call(string, time.Duration) {}

func connect(t testing.TB, url, prefix string) *redis.Client {
	t.Helper()
	c := redis.DefaultConfig()
	c.URL, c.Prefix, c.Timeout = redis.URL(url), prefix, 2*time.Second // the machine may be slow
	client, err := redis.Open(c, nobody{}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newPrefix() string { return fmt.Sprintf("test%d:", prefixes.Add(1)) }

func openDatabase(t testing.TB) *sqlite.DB {
	t.Helper()
	if server == nil {
		t.Skip(redistest.ErrMissing)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// eventually waits for what must come.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// open makes a catalog over another one, and waits until it remembers.
func open(t testing.TB, client *redis.Client, under catalog.Catalog) *rediscatalog.Catalog {
	t.Helper()
	c := rediscatalog.New(rediscatalog.DefaultConfig(), client, under)
	eventually(t, "it does not listen", func() bool { return c.Stats().Generations > 0 })
	return c
}

// whole is a database whose catalog is remembered.
type whole struct {
	*sqlite.DB
	reads *rediscatalog.Catalog
	tasks task.Queue
}

// Queue implements catalogtest.Queued.
func (w whole) Queue() task.Queue { return w.tasks }

func (w whole) Commit(ctx context.Context, c catalog.Change) ([]catalog.Result, error) {
	return w.reads.Commit(ctx, c)
}

func (w whole) Image(ctx context.Context, owner string, id asset.ID) (asset.Image, error) {
	return w.reads.Image(ctx, owner, id)
}

func (w whole) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	return w.reads.Resolve(ctx, owner, key)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var all []*rediscatalog.Catalog
	catalogtest.Run(t, func(t *testing.T) catalog.Catalog {
		db := openDatabase(t)
		tasks, err := db.Tasks(t.Context(), task.Config{
			Mint: asset.NewMint([]byte("a secret for tests")), Signals: task.NewSignals(), Policies: task.Policies{Default: task.DefaultPolicy()},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, connect(t, server.URL(), newPrefix()), db)
		all = append(all, c)
		return whole{db, c, tasks}
	})
	hits := int64(0)
	for _, c := range all {
		hits += c.Stats().Hits
	}
	if hits == 0 {
		t.Error("nothing was remembered")
	}
}

// under is a catalog that counts and can be held up.
type under struct {
	catalog.Catalog
	reads atomic.Int64

	mu   sync.Mutex
	gate func() // called between reading and answering
}

func (u *under) hold(gate func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gate = gate
}

func (u *under) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	u.reads.Add(1)
	img, err := u.Catalog.Resolve(ctx, owner, key)
	u.mu.Lock()
	gate := u.gate
	u.mu.Unlock()
	if gate != nil {
		gate()
	}
	return img, err
}

// pair is two nodes over one database.
type pair struct {
	server *redistest.Server
	prefix string
	db     *sqlite.DB
	under  [2]*under
	nodes  [2]*rediscatalog.Catalog
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{server: server, prefix: newPrefix(), db: openDatabase(t)}
	for i := range p.nodes {
		p.under[i] = &under{Catalog: p.db}
		p.nodes[i] = open(t, connect(t, server.URL(), p.prefix), p.under[i])
	}
	// both have one generation, once each has heard the other
	p.put(t, 0, "probe")
	eventually(t, "the nodes do not share", func() bool {
		p.resolve(t, 0, "probe")
		before := p.under[1].reads.Load()
		p.resolve(t, 1, "probe")
		return p.under[1].reads.Load() == before
	})
	return p
}

// put stores an image under a key on a node.
func (p *pair) put(t *testing.T, node int, key string) asset.Image {
	t.Helper()
	n := catalogtest.NewImage("main", 1, key)
	n.Rule = catalog.Replace
	results, err := p.nodes[node].Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Image
}

func (p *pair) resolve(t *testing.T, node int, key string) asset.Image {
	t.Helper()
	img, err := p.nodes[node].Resolve(t.Context(), "main", key)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// remembered reads until a node is answered from Redis.
func (p *pair) remembered(t *testing.T, node int, key string) asset.Image {
	t.Helper()
	var img asset.Image
	eventually(t, "nothing is remembered", func() bool {
		before := p.under[node].reads.Load()
		img = p.resolve(t, node, key)
		return p.under[node].reads.Load() == before
	})
	return img
}

func TestShared(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first := p.put(t, 0, "a")
	if got := p.remembered(t, 0, "a"); !reflect.DeepEqual(got, first) {
		t.Fatalf("remembered is\n%+v, expected\n%+v", got, first)
	}
	before := p.under[1].reads.Load()
	if got := p.resolve(t, 1, "a"); !reflect.DeepEqual(got, first) || p.under[1].reads.Load() != before {
		t.Errorf("the other node finds %+v, and has asked %d times", got, p.under[1].reads.Load()-before)
	}
	second := p.put(t, 1, "a")
	for node := range 2 {
		if got := p.resolve(t, node, "a"); got.ID != second.ID {
			t.Errorf("node %d finds what was replaced", node)
		}
		if _, err := p.nodes[node].Image(t.Context(), "main", first.ID); fault.Of(err) != fault.NotFound {
			t.Errorf("node %d finds what was replaced by its id: %v", node, err)
		}
	}
	p.remembered(t, 0, "a")
	if _, err := p.nodes[1].Commit(t.Context(), catalog.Change{Deletes: []catalog.Delete{{Owner: "main", ID: second.ID}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.nodes[0].Resolve(t.Context(), "main", "a"); fault.Of(err) != fault.NotFound {
		t.Errorf("what was deleted is found: %v", err)
	}
}

// TestALateAnswerIsNotStored: what was read before a change is not remembered
// after it.
func TestALateAnswerIsNotStored(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first := p.put(t, 0, "a")
	reached, release := make(chan struct{}), make(chan struct{})
	p.under[0].hold(func() { close(reached); <-release })
	late := make(chan asset.Image)
	go func() {
		img, err := p.nodes[0].Resolve(context.Background(), "main", "a")
		if err != nil {
			t.Error(err)
		}
		late <- img
	}()
	<-reached
	p.under[0].hold(nil)
	second := p.put(t, 1, "a")
	close(release)
	if got := <-late; got.ID != first.ID {
		t.Fatalf("the late reader has %v", got.ID)
	}
	for range 100 {
		for node := range 2 {
			if got := p.resolve(t, node, "a"); got.ID != second.ID {
				t.Fatalf("node %d finds what was replaced", node)
			}
		}
	}
}

// TestANodeDiesAfterItsCommit: those who hear of the change make up for it.
func TestANodeDiesAfterItsCommit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first := p.put(t, 0, "a")
	p.remembered(t, 1, "a")
	n := catalogtest.NewImage("main", 1, "a")
	n.Rule = catalog.Replace
	results, err := p.db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}) // and nothing more
	if err != nil {
		t.Fatal(err)
	}
	if got := p.resolve(t, 1, "a"); got.ID != first.ID {
		t.Fatal("this test needs a stale answer")
	}
	p.nodes[1].Forget(t.Context(), []purge.Name{{Owner: "main", Name: "a"}, {Owner: "main", Name: first.ID.String()}})
	if got := p.resolve(t, 1, "a"); got.ID != results[0].Image.ID {
		t.Error("it still finds what was replaced")
	}
}

// TestChangesWithoutRedis: what could not be taken out of Redis is not read when
// it is back.
func TestChangesWithoutRedis(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	proxy, err := redistest.NewProxy(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	cut := &under{Catalog: p.db}
	client := connect(t, proxy.URL(), p.prefix)
	node := open(t, client, cut)
	first := p.put(t, 0, "a")
	p.remembered(t, 1, "a")
	proxy.Reset()
	n := catalogtest.NewImage("main", 1, "a")
	n.Rule = catalog.Replace
	results, err := node.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := node.Resolve(t.Context(), "main", "a"); err != nil || got.ID != results[0].Image.ID {
		t.Fatalf("without Redis: %v, %v", got.ID, err)
	}
	if got := p.resolve(t, 1, "a"); got.ID != first.ID {
		t.Fatal("this test needs a stale answer: no news come here")
	}
	proxy.Mend()
	// The others learn that something may have changed.
	eventually(t, "another node still finds what was replaced", func() bool { return p.resolve(t, 1, "a").ID == results[0].Image.ID })
	eventually(t, "nothing is remembered any more", func() bool {
		before := cut.reads.Load()
		got, err := node.Resolve(t.Context(), "main", "a")
		if err != nil || got.ID != results[0].Image.ID {
			t.Fatalf("%v, %v", got.ID, err)
		}
		return cut.reads.Load() == before
	})
}

// TestUncertainCommit: a commit that fails may have been carried out.
func TestUncertainCommit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first := p.put(t, 0, "a")
	p.remembered(t, 0, "a")
	lost := rediscatalog.New(rediscatalog.DefaultConfig(), connect(t, server.URL(), p.prefix), losing{p.db})
	eventually(t, "it does not listen", func() bool { return lost.Stats().Generations > 0 })
	p.remembered(t, 0, "a")
	n := catalogtest.NewImage("main", 1, "a")
	n.Rule = catalog.Replace
	if _, err := lost.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}); err == nil {
		t.Fatal("the commit has worked")
	}
	eventually(t, "what was replaced is still found", func() bool { return p.resolve(t, 0, "a").ID != first.ID })
}

// losing carries commits out, and loses the answer.
type losing struct{ catalog.Catalog }

func (l losing) Commit(ctx context.Context, c catalog.Change) ([]catalog.Result, error) {
	if _, err := l.Catalog.Commit(ctx, c); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Unavailable, "the connection was lost")
}

// TestDamage: what is not what was stored is not taken for it.
func TestDamage(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	client := connect(t, server.URL(), p.prefix)
	img := p.put(t, 0, "a")
	other := p.put(t, 0, "b")
	p.remembered(t, 0, "a")
	p.remembered(t, 0, "b")
	keys, err := client.Do(t.Context(), redis.Command{Name: "KEYS", Args: []string{p.prefix + "c:*"}})
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, key := range keys[0].List() {
		v, err := client.Do(t.Context(), redis.Command{Name: "GET", Keys: []string{key}})
		if err != nil {
			t.Fatal(err)
		}
		values[key] = v[0].Text()
	}
	for damage, change := range map[string]func(key string) string{
		"cut off": func(key string) string { return values[key][:len(values[key])-1] },
		"changed": func(key string) string {
			return string(bytes.Replace([]byte(values[key]), []byte("cats"), []byte("rats"), 1))
		},
		"empty":    func(string) string { return "" },
		"foreign":  func(key string) string { return values[another(values, key)] },
		"no magic": func(key string) string { return "A0" + values[key][2:] },
	} {
		for key := range values {
			if _, err := client.Do(t.Context(), redis.Command{Name: "SET", Keys: []string{key}, Args: []string{change(key)}}); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := p.resolve(t, 0, "a"), p.resolve(t, 1, "b"); !reflect.DeepEqual(a, img) || !reflect.DeepEqual(b, other) {
			t.Errorf("%s: %+v, %+v", damage, a, b)
		}
		if a := p.remembered(t, 0, "a"); !reflect.DeepEqual(a, img) {
			t.Errorf("%s, and remembered again: %+v", damage, a)
		}
	}
}

func another(values map[string]string, key string) string {
	for other := range values {
		if other != key {
			return other
		}
	}
	return key
}

// TestRace has nodes change and read a few keys at once: who reads after a change
// has ended never finds what was before.
func TestRace(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var last [4]atomic.Pointer[asset.Image] // per key, committed
	var wg sync.WaitGroup
	for k := range last {
		img := p.put(t, 0, fmt.Sprint("k", k))
		last[k].Store(&img)
		wg.Go(func() { // one writer a key, so that it is known what is last
			for i := range 60 {
				img := p.put(t, i%2, fmt.Sprint("k", k))
				last[k].Store(&img)
			}
		})
		for node := range 2 {
			wg.Go(func() {
				for range 400 {
					before := last[k].Load()
					got := p.resolve(t, node, fmt.Sprint("k", k))
					if got.Created.Before(before.Created) {
						t.Errorf("%v is found after %v was committed", got.Created, before.Created)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}
