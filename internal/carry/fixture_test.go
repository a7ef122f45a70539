package carry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/carry"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/postgres"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/sqlite"
	"safelight/internal/task"
)

// server is one for all tests of this package; nil where PostgreSQL is missing.
var server *pgtest.Server

// childVar makes the test binary a process that carries over and is killed: the
// directory and the address, with a blank between.
const childVar = "TEST_CARRIES"

func TestMain(m *testing.M) {
	if dir, address, ok := strings.Cut(os.Getenv(childVar), " "); ok {
		cfg := postgres.DefaultConfig()
		cfg.URL = postgres.URL(address)
		_, err := move(context.Background(), dir, cfg, func(step string, done, total int64) { fmt.Println(step, done, total) })
		fmt.Println("ended", err)
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	settings := []string{"fsync=off"}
	if os.Getenv("SAFELIGHT_PG_FSYNC") != "" { // for honest times
		settings = nil
	}
	server, err = pgtest.Start(settings...)
	if errors.Is(err, pgtest.ErrMissing) {
		fmt.Fprintln(os.Stderr, "tests that need a server are skipped:", err)
		return m.Run(), nil
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	return m.Run(), nil
}

// target is the configuration of an empty database.
func target(t testing.TB) postgres.Config {
	t.Helper()
	if server == nil {
		t.Skip(pgtest.ErrMissing)
	}
	address, err := server.Database("")
	if err != nil {
		t.Fatal(err)
	}
	cfg := postgres.DefaultConfig()
	cfg.URL, cfg.PollInterval = postgres.URL(address), time.Hour
	return cfg
}

// both is what this test uses of either database.
type both interface {
	catalog.Catalog
	catalog.Janitor
	catalog.Renditions
	catalog.Publications
	catalog.Reconciliation
	catalog.Recompressions
	catalog.Census
	Close() error
}

type queue interface {
	task.Queue
	task.Keeper
	task.Outputs
}

// bed is an open database with its queue, whose clock does not go.
type bed struct {
	both
	queue queue
}

var (
	now  = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	mint = asset.NewMint([]byte("a secret for tests"))
)

func tasks() task.Config {
	return task.Config{Mint: mint, Signals: task.NewSignals(), Policies: task.Policies{Default: task.DefaultPolicy()}, Now: func() time.Time { return now }}
}

// must is for calls that fail only where the test itself is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openSQLite(t testing.TB, dir string) bed {
	t.Helper()
	db := must(sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "catalog.db")}))
	t.Cleanup(func() { _ = db.Close() })
	return bed{db, must(db.Tasks(t.Context(), tasks()))}
}

func openPostgres(t testing.TB, cfg postgres.Config) bed {
	t.Helper()
	db := must(postgres.Open(t.Context(), cfg, discard))
	t.Cleanup(func() { _ = db.Close() })
	return bed{db, must(db.Tasks(t.Context(), tasks()))}
}

// move carries one over into the other.
func move(ctx context.Context, dir string, cfg postgres.Config, progress carry.Progress) (carry.Report, error) {
	from, err := sqlite.OpenSnapshot(ctx, filepath.Join(dir, "catalog.db"))
	if err != nil {
		return carry.Report{}, err
	}
	defer func() { _ = from.Close() }()
	to, err := postgres.OpenFilling(ctx, cfg, discard)
	if err != nil {
		return carry.Report{}, err
	}
	defer to.Close()
	return carry.Run(ctx, from, to, progress)
}

// fill makes content of every sort: images with and without keys, tags and
// replays, sources that nobody has any more, renditions, alternatives,
// publications, and tasks in every state.
func fill(t testing.TB, b bed, images int) {
	t.Helper()
	ctx := t.Context()
	must(b.Secret(ctx, "ids", func() []byte { return []byte("a secret for tests") }))
	stored := commit(t, b, images)
	for i, img := range stored {
		if i%3 > 0 {
			continue
		}
		main := catalogtest.NewRendition(img, "thumb", uint64(i))
		check(t, b.PutRendition(ctx, img.Owner, main))
		other := main
		other.Variant, other.Digest = asset.Variant(img.Source.Digest, "other"), catalogtest.Made(uint64(1_000_000+i))
		check(t, b.PutAlternatives(ctx, img.Owner, main, []catalog.Rendition{other}))
		p := catalogtest.NewPublication(img, []string{"", "thumb"}[i%2], "shop", uint64(i))
		check(t, b.Intend(ctx, p))
		if i%2 == 0 {
			must(b.Confirm(ctx, p))
		}
		check(t, b.PutRecompression(ctx, catalog.Recompression{Source: img.Source.Digest, Bytes: int64(i), Reason: "why not", Tried: now}))
	}
	for _, img := range stored[:len(stored)/10] {
		must(b.Commit(ctx, catalog.Change{Deletes: []catalog.Delete{{Owner: img.Owner, ID: img.ID}}}))
	}
	fillTasks(t, b.queue)
}

func commit(t testing.TB, b bed, images int) (stored []asset.Image) {
	t.Helper()
	for first := 0; first < images; first += 100 {
		var change catalog.Change
		for i := first; i < min(first+100, images); i++ {
			n := catalogtest.NewImage([]string{"main", "Ärzte"}[i%2], uint64(i/2), fmt.Sprintf("dir%d/Bild ä %d.jpg", i%7, i))
			n.Image.Tags = []string{"zebra", "Äpfel"}[:i%3]
			if i%5 == 0 {
				n.Image.Looks = asset.Looks{}
			}
			n.Replay = catalog.Replay{Token: fmt.Sprintf("token \xff %d", first), Ordinal: i}
			n.Tasks = []task.New{{Function: "render", Name: fmt.Sprint("render ", i), Args: json.RawMessage(`{"a":  1}`)}}
			change.Images = append(change.Images, n)
		}
		results, err := b.Commit(t.Context(), change)
		check(t, err)
		for _, r := range results {
			stored = append(stored, r.Image)
		}
	}
	return stored
}

// fillTasks leaves a task in every state, one of them running, and one that was
// submitted again meanwhile.
func fillTasks(t testing.TB, q queue) {
	t.Helper()
	ctx := t.Context()
	for _, f := range []string{"done", "dead", "cancelled", "running"} {
		n := task.New{Owner: "main", Function: f, Name: f, Lock: task.Lock{Name: "l" + f, Limit: 2}, Priority: -7}
		submitted := must(q.Submit(ctx, []task.New{n, {Owner: "main", Function: f + "-later", RunAt: now.Add(time.Hour)}}))
		if f == "cancelled" {
			must(q.Alter(ctx, task.Cancel, task.Filter{ID: submitted[0].ID}))
			continue
		}
		held := must(q.Claim(ctx, task.Claim{Functions: []string{f}, Worker: "outside", Max: 1, Lease: task.MaxLease}))
		r := task.Report{ID: held[0].ID, Lease: held[0].Lease}
		switch f {
		case "done":
			r.Kind, r.Result = task.Succeeded, json.RawMessage(`{"x": [1,  2]}`)
		case "dead":
			r.Kind, r.Error, r.Final = task.Failed, "no\x00 way \xff", true
		case "running":
			half := 50
			r.Kind, r.Progress, r.Message = task.Beat, &half, "at it"
			must(q.Submit(ctx, []task.New{n}))
		}
		reported := must(q.Report(ctx, []task.Report{r}))
		check(t, reported[0].Err)
	}
	check(t, q.Announce(ctx, []string{"render", "done"}))
}

var discard = slog.New(slog.DiscardHandler)
