package carry_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
	"safelight/internal/postgres"
	"safelight/internal/task"
)

// seen is everything that the ports tell of a database.
type seen struct {
	Images       []asset.Image
	Tagged       []asset.ID
	Renditions   []catalog.Rendition
	Publications []catalog.Publication
	Recompressed map[asset.Digest]catalog.Recompression
	Released     []asset.Digest
	Tasks        []task.Task
	Counts       map[string]int
	Announced    map[string]time.Time
	Secret       string
}

func look(t *testing.T, b bed) (s seen) {
	t.Helper()
	ctx := t.Context()
	after := asset.ID{}
	for {
		page := must(b.ImagesAfter(ctx, after, 1000))
		s.Images = append(s.Images, page...)
		if len(page) < 1000 {
			break
		}
		after = page[999].ID
	}
	s.Recompressed = map[asset.Digest]catalog.Recompression{}
	for _, img := range s.Images {
		if got, err := b.Resolve(ctx, img.Owner, img.Key); err != nil || got.ID != img.ID {
			t.Fatalf("%s leads to %v, %v", img.Key, got.ID, err)
		}
		s.Renditions = append(s.Renditions, must(b.RenditionsOf(ctx, img.Owner, img.ID))...)
		s.Renditions = append(s.Renditions, must(b.AlternativesOf(ctx, img.Owner, img.ID))...)
		if r, err := b.RecompressionOf(ctx, img.Source.Digest); err == nil {
			s.Recompressed[img.Source.Digest] = r
		}
	}
	for _, img := range must(b.List(ctx, catalog.Query{Owner: "main", Tag: "zebra", Limit: 1000})).Images {
		s.Tagged = append(s.Tagged, img.ID)
	}
	s.Publications = must(b.ListPublications(ctx, catalog.PublicationQuery{Limit: 1000}))
	s.Released = must(b.Released(ctx, time.Now().Add(time.Hour), 1000))
	slices.SortFunc(s.Released, func(x, y asset.Digest) int { return strings.Compare(x.String(), y.String()) })
	s.Tasks = must(b.queue.List(ctx, task.Query{Limit: 1000})).Tasks
	s.Counts = map[string]int{}
	for _, c := range must(b.queue.Counts(ctx)) {
		s.Counts[fmt.Sprint(c.Function, c.State)] = c.Tasks
	}
	s.Announced = must(b.queue.Announced(ctx))
	s.Secret = string(must(b.Secret(ctx, "ids", func() []byte { panic("there is none") })))
	return s
}

func wantSame(t *testing.T, got, expected seen) {
	t.Helper()
	if len(expected.Images) == 0 || len(expected.Renditions) == 0 || len(expected.Publications) == 0 || len(expected.Recompressed) == 0 ||
		len(expected.Released) == 0 || len(expected.Tagged) == 0 || len(expected.Announced) == 0 {
		t.Fatal("there is nothing to compare")
	}
	x, y := reflect.ValueOf(got), reflect.ValueOf(expected)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			t.Errorf("%s differs:\n%.2000v\nexpected\n%.2000v", x.Type().Field(i).Name, x.Field(i), y.Field(i))
		}
	}
}

// TestEverything carries content of every sort over, and goes on working with
// it: a running task is reported under the lease that it had.
func TestEverything(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	old := openSQLite(t, dir)
	fill(t, old, 230)
	expected := look(t, old)
	replay := catalogtest.NewImage("main", 21, "again")
	replay.Replay = catalog.Replay{Token: "token \xff 0", Ordinal: 42}
	check(t, old.Close())
	raw := must(sql.Open("sqlite3", filepath.Join(dir, "catalog.db"))) // as no adapter writes it
	must(raw.ExecContext(t.Context(), `UPDATE tasks SET error = CAST(x'6100ff62' AS TEXT) WHERE state = 4`))
	check(t, raw.Close())
	last := int64(-1)
	report, err := move(t.Context(), dir, cfg, func(_ string, done, total int64) {
		if done > total {
			t.Errorf("%d of %d", done, total)
		}
		last = total
	})
	check(t, err)
	if sum := report.Sum(); report.Stale || sum.Rows != last || sum.Added != last || sum.Changed+sum.Removed != 0 {
		t.Errorf("%+v of %d", report, last)
	}
	if report.Altered != 1 { // the error with bytes that are no text
		t.Errorf("%d texts were altered, expected 1", report.Altered)
	}
	for i, k := range expected.Tasks {
		if k.State == task.Dead {
			expected.Tasks[i].Error = "a\ufffd\ufffdb"
		}
	}
	b := openPostgres(t, cfg)
	wantSame(t, look(t, b), expected)
	if r := must(b.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{replay}})); !r[0].Replayed {
		t.Errorf("a request that is sent again is stored again: %+v", r)
	}
	i := slices.IndexFunc(expected.Tasks, func(k task.Task) bool { return k.State == task.Running })
	k := expected.Tasks[i]
	if r := must(b.queue.Report(t.Context(), []task.Report{{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded}})); r[0].Err != nil || r[0].State != task.Ready {
		t.Errorf("%+v; expected the task to be ready again, as it was submitted while it ran", r)
	}
}

// TestAgain changes the source between runs: rows come, go and change, names and
// keys that must be unique change hands.
func TestAgain(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	old := openSQLite(t, dir)
	fill(t, old, 120)
	ctx := t.Context()
	if report, err := move(ctx, dir, cfg, nil); err != nil || report.Stale {
		t.Fatal(report, err)
	}
	images := must(old.ImagesAfter(ctx, asset.ID{}, 1000))
	for i, img := range images[:60] {
		n := catalogtest.NewImage(img.Owner, uint64(5000+i/2), img.Key)
		n.Rule = catalog.Replace
		if i%2 == 0 {
			must(old.Commit(ctx, catalog.Change{Images: []catalog.NewImage{n}}))
		} else if i%3 == 0 {
			must(old.Commit(ctx, catalog.Change{Deletes: []catalog.Delete{{Owner: img.Owner, ID: img.ID}}}))
		}
	}
	must(old.queue.Alter(ctx, task.Cancel, task.Filter{Function: "render"}))
	must(old.queue.Submit(ctx, []task.New{{Owner: "main", Function: "render", Name: "render 2"}}))
	expected := look(t, old)
	report, err := move(ctx, dir, cfg, nil)
	check(t, err)
	if sum := report.Sum(); sum.Added == 0 || sum.Removed == 0 || sum.Changed == 0 || sum.Added >= sum.Rows {
		t.Errorf("%+v", sum)
	}
	report, err = move(ctx, dir, cfg, nil)
	check(t, err)
	if sum := report.Sum(); sum.Added+sum.Removed+sum.Changed != 0 {
		t.Errorf("a run without differences gave %+v", sum)
	}
	wantSame(t, look(t, openPostgres(t, cfg)), expected)
}

// TestInterrupted ends a run after each part of it: no server starts on what is
// there, and the next run goes on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	old := openSQLite(t, dir)
	fill(t, old, 150)
	expected := look(t, old)
	expected.Tasks = nil
	steps := map[string]bool{}
	for cut := 1; ; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := move(ctx, dir, cfg, func(step string, _, _ int64) {
			if calls++; calls == cut {
				steps[step] = true
				cancel()
			}
		})
		cancel()
		if err == nil {
			break
		}
		if _, err := postgres.Open(t.Context(), cfg, discard); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "safelight migrate") {
			t.Fatalf("a server that starts on a part gets %v", err)
		}
	}
	if len(steps) != 3 {
		t.Errorf("it was interrupted in %v only", slices.Collect(maps.Keys(steps)))
	}
	got := look(t, openPostgres(t, cfg))
	got.Tasks = nil
	wantSame(t, got, expected)
}

// TestKilled kills the process that carries over, again and again, each time a
// little later.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	old := openSQLite(t, dir)
	fill(t, old, 3000)
	expected := look(t, old)
	expected.Tasks = nil // the list is cut
	for lines := 2; ; lines += 3 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childVar+"="+dir+" "+string(cfg.URL))
		out := must(child.StdoutPipe())
		check(t, child.Start())
		said := bufio.NewScanner(out)
		last := ""
		for n := 0; said.Scan(); n++ {
			if last = said.Text(); n == lines {
				check(t, child.Process.Kill())
			}
		}
		_ = child.Wait()
		if last == "ended <nil>" {
			break
		}
		if strings.HasPrefix(last, "ended") {
			t.Fatalf("after %d lines: %s", lines, last)
		}
	}
	got := look(t, openPostgres(t, cfg))
	got.Tasks = nil
	wantSame(t, got, expected)
}

// TestStale writes while a run is under way: reading goes on, the run says that
// it is not the last, and no server starts before that.
func TestStale(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	old := openSQLite(t, dir)
	fill(t, old, 50)
	written := false
	report, err := move(t.Context(), dir, cfg, func(step string, _, _ int64) {
		if step == "copying" && !written {
			written = true
			must(old.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{catalogtest.NewImage("main", 9999, "meanwhile")}}))
		}
	})
	if err != nil || !report.Stale || report.Again <= 0 {
		t.Fatalf("%+v, %v; expected it to be stale", report, err)
	}
	if _, err := postgres.Open(t.Context(), cfg, discard); fault.Of(err) != fault.Unavailable {
		t.Fatalf("a server starts: %v", err)
	}
	if report, err = move(t.Context(), dir, cfg, nil); err != nil || report.Stale || report.Sum().Added == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := openPostgres(t, cfg).Resolve(t.Context(), "main", "meanwhile"); err != nil {
		t.Error(err)
	}
}

// TestRefused: neither what a server uses nor what comes from elsewhere is
// filled.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	fill(t, openSQLite(t, dir), 20)
	stranger := openSQLite(t, other)
	if _, err := move(t.Context(), other, target(t), nil); fault.Of(err) != fault.Unavailable {
		t.Errorf("a database that was never used gives %v", err)
	}
	must(stranger.Secret(t.Context(), "ids", func() []byte { return []byte("another") }))
	used := target(t)
	must(openPostgres(t, used).Secret(t.Context(), "ids", func() []byte { return []byte("a secret for tests") }))
	filled := target(t)
	must(move(t.Context(), dir, filled, nil))
	served := target(t)
	must(move(t.Context(), dir, served, nil))
	openPostgres(t, served)
	for name, c := range map[string]struct {
		dir  string
		to   postgres.Config
		says string
	}{
		"used":               {dir, used, "not empty"},
		"of another":         {other, filled, "another installation"},
		"in use since":       {dir, served, "would undo"},
		"in use, of another": {other, served, "another installation"},
	} {
		if _, err := move(t.Context(), c.dir, c.to, nil); fault.Of(err) != fault.Conflict || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := move(t.Context(), t.TempDir(), filled, nil); fault.Of(err) != fault.NotFound {
		t.Errorf("without a file: %v", err)
	}
	to := must(postgres.OpenFilling(t.Context(), filled, discard))
	defer to.Close()
	if _, err := move(t.Context(), dir, filled, nil); fault.Of(err) != fault.Conflict {
		t.Errorf("two at once: %v", err)
	}
}

// TestTables holds the list of tables against both schemas: a table or a column
// that is not in it would be lost.
func TestTables(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), target(t)
	openSQLite(t, dir)
	openPostgres(t, cfg)
	listed := map[string][]string{}
	for _, table := range stored.Tables() {
		for _, c := range table.Columns {
			listed[table.Name] = append(listed[table.Name], c.Name)
		}
		slices.Sort(listed[table.Name])
	}
	lite := must(sql.Open("sqlite3", filepath.Join(dir, "catalog.db")))
	defer func() { _ = lite.Close() }()
	rows := must(lite.QueryContext(t.Context(), `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'goose%' ORDER BY 1, 2`))
	has := map[string][]string{}
	for rows.Next() {
		var table, column string
		check(t, rows.Scan(&table, &column))
		has[table] = append(has[table], column)
	}
	check(t, rows.Err())
	if !reflect.DeepEqual(has, listed) {
		t.Errorf("SQLite has\n%v, the list\n%v", has, listed)
	}
	conn := must(pgx.Connect(t.Context(), string(cfg.URL)))
	defer func() { _ = conn.Close(context.Background()) }()
	for name, columns := range listed {
		there := must(conn.Query(t.Context(), `SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1`, name))
		if got := must(pgx.CollectRows(there, pgx.RowTo[string])); !slices.Equal(slices.Sorted(slices.Values(got)), columns) {
			t.Errorf("PostgreSQL has %v in %s, the list %v", got, name, columns)
		}
	}
}

// TestMany tells how long 100,000 images take.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	dir, cfg := t.TempDir(), target(t)
	const images = 100_000
	old := openSQLite(t, dir)
	must(old.Secret(t.Context(), "ids", func() []byte { return []byte("a secret for tests") }))
	commit(t, old, images)
	check(t, old.Close())
	report := must(move(t.Context(), dir, cfg, nil))
	again := must(move(t.Context(), dir, cfg, nil))
	t.Logf("%d images, %d rows: %s; once more without differences: %s (%s was promised)", images, report.Sum().Rows, report.Took, again.Took, report.Again)
}
