package work

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/sqlite"
	"safelight/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a queue that fails as long as it is told to.
type failing struct {
	queue
	mu     sync.Mutex
	report func([]task.Report) error // nil is none
	other  error                     // of Claim, Abandon, Prune and Tick
}

func (f *failing) fail(report func([]task.Report) error, other error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report, f.other = report, other
}

func (f *failing) broken() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.other
}

func (f *failing) Report(ctx context.Context, reports []task.Report) ([]task.Reported, error) {
	f.mu.Lock()
	check := f.report
	f.mu.Unlock()
	if check != nil {
		if err := check(reports); err != nil {
			return nil, err
		}
	}
	return f.queue.Report(ctx, reports)
}

func (f *failing) Claim(ctx context.Context, c task.Claim) ([]task.Task, error) {
	if err := f.broken(); err != nil {
		return nil, err
	}
	return f.queue.Claim(ctx, c)
}

func (f *failing) Abandon(ctx context.Context, worker string) (int, error) {
	if err := f.broken(); err != nil {
		return 0, err
	}
	return f.queue.Abandon(ctx, worker)
}

func (f *failing) Tick(ctx context.Context) (time.Time, error) {
	if err := f.broken(); err != nil {
		return time.Time{}, err
	}
	return f.queue.Tick(ctx)
}

func (f *failing) Prune(ctx context.Context, done, dead time.Time, limit int) (int, error) {
	if err := f.broken(); err != nil {
		return 0, err
	}
	return f.queue.Prune(ctx, done, dead, limit)
}

// counted is a Metrics that remembers.
type counted struct {
	mu       sync.Mutex
	attempts []string // function and outcome
	times    int
}

func (c *counted) Attempt(function, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts = append(c.attempts, function+" "+outcome)
}

func (c *counted) AttemptTime(string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times++
}

func (c *counted) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.attempts)
}

// fixture is an engine over a queue in a real database. It is made inside a
// bubble, whose clock all of them go by.
type fixture struct {
	*Engine
	t       *testing.T
	queue   *failing
	metrics *counted
	log     *strings.Builder // guarded by logging
	logging sync.Mutex
	stop    func() // ends Run and waits for its end
}

// setup is what a test wants different from the defaults.
type setup struct {
	node      string
	config    func(*Config)
	functions map[string]Function
	over      *fixture // another node's, whose database is shared
}

func newFixture(t *testing.T, s setup) *fixture {
	t.Helper()
	f := &fixture{t: t, metrics: &counted{}, log: &strings.Builder{}, stop: func() {}}
	config := DefaultConfig()
	config.Slots = 4
	if s.config != nil {
		s.config(&config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	policies := config.Policies(s.functions)
	signals := task.NewSignals()
	if s.over != nil {
		f.queue, signals = s.over.queue, s.over.signals
	} else {
		db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		tasks, err := db.Tasks(t.Context(), task.Config{Mint: asset.NewMint([]byte("secret")), Policies: policies, Signals: signals})
		if err != nil {
			t.Fatal(err)
		}
		f.queue = &failing{queue: tasks}
	}
	if s.node == "" {
		s.node = "n1"
	}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), f), nil))
	f.Engine = New(config, s.node, f.queue, signals, policies, s.functions, f.metrics, log)
	t.Cleanup(func() { f.stop() })
	return f
}

// Write gathers the log.
func (f *fixture) Write(p []byte) (int, error) {
	f.logging.Lock()
	defer f.logging.Unlock()
	return f.log.Write(p)
}

func (f *fixture) logged(words string) bool {
	f.logging.Lock()
	defer f.logging.Unlock()
	return strings.Contains(f.log.String(), words)
}

// start runs the engine until the test ends or stop is called.
func (f *fixture) start() *fixture {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("Run gave %v", err)
		}
	})
	synctest.Wait()
	return f
}

// job is a task of a function, for the tests' owner.
func job(function string) task.New { return task.New{Owner: "main", Function: function} }

func (f *fixture) submit(n task.New) asset.ID {
	f.t.Helper()
	stored, err := f.Submit(context.Background(), []task.New{n})
	if err != nil {
		f.t.Fatal(err)
	}
	return stored[0].ID
}

func (f *fixture) task(id asset.ID) task.Task {
	f.t.Helper()
	k, err := f.queue.Task(context.Background(), "", id)
	if err != nil {
		f.t.Fatal(err)
	}
	return k
}

func (f *fixture) want(id asset.ID, state task.State) task.Task {
	f.t.Helper()
	k := f.task(id)
	if k.State != state {
		f.t.Fatalf("the task is %s (attempt %d, %q), expected %s", k.State, k.Attempt, k.Error, state)
	}
	return k
}

func (f *fixture) list(function string) []task.Task {
	f.t.Helper()
	page, err := f.queue.List(context.Background(), task.Query{Filter: task.Filter{Function: function}, Limit: 1000})
	if err != nil {
		f.t.Fatal(err)
	}
	return page.Tasks
}

// asks is a claim of one task by a worker outside.
func asks(functions ...string) task.Claim {
	return task.Claim{Functions: functions, Worker: "w1", Max: 1, Lease: time.Minute}
}

// answer is what a claim that waits has got.
type answer struct {
	tasks []task.Task
	err   error
	took  time.Duration
}

// waits begins a claim that waits.
func (f *fixture) waits(ctx context.Context, c task.Claim, wait time.Duration) <-chan answer {
	answers := make(chan answer, 1)
	start := time.Now()
	go func() {
		tasks, err := f.Claim(ctx, c, wait)
		answers <- answer{tasks, err, time.Since(start)}
	}()
	synctest.Wait()
	return answers
}

// nobody fails the test if a claim that waits has been answered.
func nobody(t *testing.T, answers <-chan answer) {
	t.Helper()
	select {
	case a := <-answers:
		t.Fatalf("a claim was answered too early: %+v", a)
	default:
	}
}

// gets is the one task that a claim has got after a time.
func gets(t *testing.T, answers <-chan answer, took time.Duration) task.Task {
	t.Helper()
	a := <-answers
	if a.err != nil || len(a.tasks) != 1 || a.took != took {
		t.Fatalf("a claim gave %d tasks, %v after %s; expected 1 after %s", len(a.tasks), a.err, a.took, took)
	}
	return a.tasks[0]
}

func (f *fixture) report(k task.Task, kind task.ReportKind) {
	f.t.Helper()
	answers, err := f.Report(context.Background(), []task.Report{{ID: k.ID, Lease: k.Lease, Kind: kind}})
	if err != nil || answers[0].Err != nil {
		f.t.Fatal(err, answers)
	}
}

// bubble runs a test in a bubble, in parallel to others.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}
