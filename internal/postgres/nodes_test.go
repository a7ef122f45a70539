package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/fault"
	"safelight/internal/postgres"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/purge"
	"safelight/internal/task"
)

// patience bounds how long is waited for what must come.
const patience = 30 * time.Second

// TestManyOpenAtOnce: nodes that start together on an empty database wait for
// each other, and all find the schema.
func TestManyOpenAtOnce(t *testing.T) {
	if server == nil {
		t.Skip(pgtest.ErrMissing)
	}
	address, err := server.Database("")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := postgres.Open(context.Background(), config(address), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// nodes opens queues of so many nodes over one database.
func nodes(t *testing.T, n int, policies task.Policies) []*queue {
	t.Helper()
	cfg := config(fresh(t))
	all := make([]*queue, n)
	for i := range all {
		tasks := tasksConfig()
		tasks.Policies = policies
		all[i] = openQueue(t, cfg, tasks)
	}
	return all
}

// TestLimitsHoldAcrossNodes has several nodes claim at once what a function's
// concurrency and a counted lock limit: never do more run.
func TestLimitsHoldAcrossNodes(t *testing.T) {
	policy := task.DefaultPolicy()
	policy.Concurrency = 5
	all := nodes(t, 3, task.Policies{Default: task.DefaultPolicy(), Of: map[string]task.Policy{"few": policy}})
	var tasks []task.New
	for i := range 60 {
		tasks = append(tasks, task.New{Owner: "o", Function: "few"})
		tasks = append(tasks, task.New{Owner: "o", Function: []string{"x", "y"}[i%2], Lock: task.Lock{Name: "l", Limit: 3}})
	}
	if _, err := all[0].Submit(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	var few, locked, done atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(patience)
	for i := range 12 {
		q := all[i%len(all)]
		wg.Go(func() {
			for done.Load() < int64(len(tasks)) && time.Now().Before(end) && !t.Failed() {
				got, err := q.Claim(context.Background(), task.Claim{Functions: []string{"few", "x", "y"}, Max: 1 + i%4, Lease: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				var beats, reports []task.Report
				for _, k := range got {
					running, most := &few, int64(5)
					if k.Lock.Name != "" {
						running, most = &locked, 3
					}
					if n := running.Add(1); n > most {
						t.Errorf("%d run of what %d may", n, most)
					}
					beats = append(beats, task.Report{ID: k.ID, Lease: k.Lease, Kind: task.Beat})
					reports = append(reports, task.Report{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded})
				}
				if _, err := q.Report(context.Background(), beats); err != nil {
					t.Error(err)
				}
				for _, k := range got { // counted down before the report frees them
					if k.Lock.Name != "" {
						locked.Add(-1)
					} else {
						few.Add(-1)
					}
				}
				if _, err := q.Report(context.Background(), reports); err != nil {
					t.Error(err)
					return
				}
				done.Add(int64(len(got)))
			}
		})
	}
	wg.Wait()
	if n := done.Load(); n != int64(len(tasks)) {
		t.Fatalf("%d of %d tasks were carried out", n, len(tasks))
	}
}

// TestNodesTellEachOther: who waits on one node is woken by what comes in on
// another, with its image too.
func TestNodesTellEachOther(t *testing.T) {
	cfg := config(fresh(t))
	here, there := tasksConfig(), tasksConfig()
	a, b := openQueue(t, cfg, here), openQueue(t, cfg, there)
	comes := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatalf("%s: nothing came", what)
		}
	}
	w := there.Signals.Wait([]string{"f"})
	defer there.Signals.Leave(w)
	stored, err := a.Submit(t.Context(), []task.New{{Owner: "main", Function: "f"}})
	if err != nil {
		t.Fatal(err)
	}
	comes("a task", w.C)
	changed, end := there.Signals.Watch(stored[0].ID)
	defer end()
	got, err := a.Claim(t.Context(), task.Claim{Functions: []string{"f"}, Max: 1, Lease: time.Minute})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	comes("a claim", changed)
	n := catalogtest.NewImage("main", 1, "a")
	n.Tasks = []task.New{{Function: "f"}}
	if _, err := a.db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}); err != nil {
		t.Fatal(err)
	}
	comes("a task with an image", w.C)
	sooner := there.Signals.Planned(time.Now().Add(48 * time.Hour))
	if _, err := a.Submit(t.Context(), []task.New{{Owner: "main", Function: "f", RunAt: time.Now().Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	comes("a task for later", sooner)
	if got, err := b.Claim(t.Context(), task.Claim{Functions: []string{"f"}, Max: 1, Lease: time.Minute}); err != nil || len(got) != 1 {
		t.Fatalf("the other node finds %d tasks, %v", len(got), err)
	}
}

// TestLooksWithoutBeingTold: a task that no notification tells of is found.
func TestLooksWithoutBeingTold(t *testing.T) {
	cfg := config(fresh(t))
	a := openQueue(t, cfg, tasksConfig())
	cfg.PollInterval = 20 * time.Millisecond
	there := tasksConfig()
	openQueue(t, cfg, there)
	w := there.Signals.Wait([]string{"f"})
	defer there.Signals.Leave(w)
	id := asset.NewMint([]byte("x")).New(time.Now())
	_, err := a.db.Pool().Exec(t.Context(), `INSERT INTO tasks SELECT $1, 'main', 'f', '', '{}', '', '', 0, '', 0, 0, 0, 0, 1, 0, 0, '', '', '',
		0, 0, 0, '', '', '', '', 0, '', 0, 0, 0, 0`, id[:])
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.C:
	case <-time.After(patience):
		t.Fatal("nobody was woken")
	}
}

// TestConcurrentKeysOfNodes has several nodes move the same keys in changes of
// many images: each is carried out, and nothing is left behind.
func TestConcurrentKeysOfNodes(t *testing.T) {
	all := nodes(t, 3, task.Policies{Default: task.DefaultPolicy()})
	const workers, each, images = 9, 10, 10
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				var change catalog.Change
				for k := range images {
					n := catalogtest.NewImage("main", uint64(k), fmt.Sprint((k*7+w+i)%images))
					n.Rule, n.Tasks, n.Farewell = catalog.Replace, []task.New{{Function: "x", Name: fmt.Sprint(k)}}, []task.New{{Function: "bye"}}
					change.Images = append(change.Images, n)
				}
				if _, err := all[w%len(all)].db.Commit(context.Background(), change); err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	db := all[0].db
	if n, err := db.CountImages(t.Context(), "main"); err != nil || n != images {
		t.Fatalf("%d images are left, %v", n, err)
	}
	for k := range images {
		if used, err := db.Used(t.Context(), catalogtest.Digest(uint64(k))); err != nil {
			t.Fatal(used, err)
		}
	}
	free, err := db.Released(t.Context(), time.Now().Add(time.Hour), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range free {
		if used, err := db.Used(t.Context(), d); used || err != nil {
			t.Errorf("a source that is in use counts as released, %v", err)
		}
	}
	bye, err := all[0].Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range bye {
		if expected := workers*each*images - images; c.Function == "bye" && c.Tasks != expected {
			t.Errorf("%d images lost their key, expected %d", c.Tasks, expected)
		}
	}
}

// TestNewerSchema: a database of a newer version is left alone.
func TestNewerSchema(t *testing.T) {
	address := fresh(t)
	if err := server.Exec(databaseOf(address), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(t.Context(), config(address), slog.New(slog.DiscardHandler))
	if fault.Of(err) != fault.Unavailable {
		t.Fatalf("Open gave %v", err)
	}
	t.Log(err)
}

// TestNodesTellOfMoves: each node but the one that did it hears which names do
// not stand for what they did; where there are too many, that it may be any.
func TestNodesTellOfMoves(t *testing.T) {
	all := nodes(t, 2, task.Policies{Default: task.DefaultPolicy()})
	heard := make(chan string, 10_000)
	for i, q := range all {
		q.db.OnMoves(postgres.Moves{
			Moved: func(n purge.News) {
				for _, name := range n.Names {
					heard <- fmt.Sprint(i, " ", name.Owner, " ", name.Name)
				}
				for _, source := range n.Sources {
					heard <- fmt.Sprint(i, " ", source)
				}
			},
			Lost: func() { heard <- fmt.Sprint(i, " any") },
		})
	}
	comes := func(expected ...string) {
		t.Helper()
		for _, e := range expected {
			select {
			case got := <-heard:
				if got != e {
					t.Fatalf("%q was told, expected %q", got, e)
				}
			case <-time.After(patience):
				t.Fatalf("%q was not told", e)
			}
		}
	}
	store := func(rule catalog.KeyRule, n int) (change catalog.Change) {
		for i := range n {
			img := catalogtest.NewImage("main", 1, fmt.Sprintf("%0500d", i))
			img.Rule = rule
			change.Images = append(change.Images, img)
		}
		return change
	}
	first, err := all[0].db.Commit(t.Context(), store(catalog.Refuse, 40)) // tells nothing
	if err != nil {
		t.Fatal(err)
	}
	lost := first[0].Image
	if _, err := all[0].db.Commit(t.Context(), store(catalog.Replace, 1)); err != nil {
		t.Fatal(err)
	}
	comes("1 main "+lost.ID.String(), "1 main "+lost.Key, "1 "+lost.Source.Digest.String())
	if _, err := all[1].db.Commit(t.Context(), store(catalog.Replace, 40)); err != nil {
		t.Fatal(err)
	}
	comes("0 any")
}
