package taskapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/httpapi"
	"safelight/internal/httpapi/taskapi"
	"safelight/internal/render"
	"safelight/internal/sqlite"
	"safelight/internal/task"
	"safelight/internal/work"
)

// Tokens of the keys that the server of the tests knows.
const (
	adminKey   = "an-admin-of-main"
	siteKey    = "upload-and-read-main"
	readKey    = "only-reads-main!"
	workerKey  = "works-for-main-only"
	roamerKey  = "works-for-everybody"
	shopKey    = "the-shop-does-all"
	strangeKey = "nobody-knows-this-one"
)

var keys = []auth.Key{
	{Name: "admin", Token: adminKey, Scopes: []string{"admin"}},
	{Name: "site", Token: siteKey, Scopes: []string{"upload", "read"}},
	{Name: "reader", Token: readKey, Scopes: []string{"read"}},
	{Name: "worker", Token: workerKey, Scopes: []string{"worker"}},
	{Name: "roamer", Token: roamerKey, Owner: "*", Scopes: []string{"worker"}},
	{Name: "shop", Token: shopKey, Owner: "shop", Scopes: []string{"upload", "read", "worker"}},
}

// server is the real transport over the real engine and queue; only the files
// are stand-ins.
type server struct {
	*httptest.Server
	t       *testing.T
	api     *httpapi.Server
	queue   *queue
	engine  *engine
	mint    *asset.Mint
	signals *task.Signals
	waiting chan struct{} // receives when a claim has found nothing, and so waits
	files   files
	config  httpapi.Config
}

func newServer(t *testing.T, change ...func(*server)) *server {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &server{t: t, mint: asset.NewMint([]byte("a secret for tests")), signals: task.NewSignals(), config: httpapi.DefaultConfig(),
		waiting: make(chan struct{}, 100), files: files{stored: make(map[asset.ID][]byte)}}
	functions := map[string]work.Function{"backfill": {}}
	policies := work.DefaultConfig().Policies(functions)
	tasks, err := db.Tasks(t.Context(), task.Config{Mint: s.mint, Signals: s.signals, Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s.queue = &queue{tasks, s.waiting}
	s.engine = &engine{work.New(work.DefaultConfig(), "a", s.queue, s.signals, policies, functions, silent{}, log), make(chan error, 100)}
	known, err := auth.NewStatic(keys)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(nil)
	for _, c := range change {
		c(s)
	}
	s.api = httpapi.New(s.config, httpapi.Deps{
		Auth: known, Mint: s.mint, Metrics: silent{}, Expose: http.NotFoundHandler(), Log: log,
		Tasks: &taskapi.Deps{
			Engine: s.engine, Tasks: s.queue, Signals: s.signals, Files: &s.files,
			Attended: s.engine.Attendance().Attended, Reserved: s.engine.Reserved,
			CheckInput: func(in string) error {
				if in == "bad" {
					return fault.New(fault.Invalid, "input: it is bad")
				}
				return nil
			},
		},
	})
	s.Server.Config.Handler = s.api
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// queue is the real one; it tells when a claim has found nothing.
type queue struct {
	*sqlite.Tasks
	waiting chan struct{}
}

func (q *queue) Claim(ctx context.Context, c task.Claim) ([]task.Task, error) {
	got, err := q.Tasks.Claim(ctx, c)
	if err == nil && len(got) == 0 {
		q.waiting <- struct{}{}
	}
	return got, err
}

// engine is the real one; it tells what claims have ended with.
type engine struct {
	*work.Engine
	left chan error
}

func (e *engine) Claim(ctx context.Context, c task.Claim, wait time.Duration) ([]task.Task, error) {
	got, err := e.Engine.Claim(ctx, c, wait)
	e.left <- err
	return got, err
}

// silent counts nothing.
type silent struct{}

func (silent) Request(string, string, int, time.Duration) {}
func (silent) Upload(string, int64, time.Duration)        {}
func (silent) Rendition(render.Status)                    {}
func (silent) Attempt(string, string)                     {}
func (silent) AttemptTime(string, time.Duration)          {}

// files keeps outputs in memory; every input is the same few bytes.
type files struct {
	mu     sync.Mutex
	stored map[asset.ID][]byte
	taken  func(body io.Reader) // nil, or called before an output is read

	undigested bool // inputs come without
}

const picture = "these are the bytes of a picture"

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func contentOf(b []byte, media string) taskapi.Content {
	return taskapi.Content{Body: content{bytes.NewReader(b)}, Bytes: int64(len(b)), Type: media, Digest: asset.Digest(sha256.Sum256(b))}
}

func (f *files) Input(_ context.Context, t task.Task) (taskapi.Content, error) {
	if t.Image == (asset.ID{}) {
		return taskapi.Content{}, fault.New(fault.NotFound, "the task has no image")
	}
	c := contentOf([]byte(picture), "image/jpeg")
	if f.undigested {
		c.Digest = asset.Digest{}
	}
	return c, nil
}

func (f *files) TakeOutput(_ context.Context, t task.Task, body io.Reader) (task.Output, error) {
	if f.taken != nil {
		f.taken(body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return task.Output{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored[t.ID] = b
	return task.Output{Digest: asset.Digest(sha256.Sum256(b)), Bytes: int64(len(b)), Type: "image/png"}, nil
}

func (f *files) OpenOutput(_ context.Context, t task.Task) (taskapi.Content, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return contentOf(f.stored[t.ID], t.Output.Type), nil
}

// reply is an answer that has been read.
type reply struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// do asks with a key; path may be an absolute URL.
func (s *server) do(key, method, path, body string) *reply {
	s.t.Helper()
	return s.doContext(s.t.Context(), key, method, path, body)
}

func (s *server) doContext(ctx context.Context, key, method, path, body string) *reply {
	s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.URL + path
	}
	r, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d does
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		return &reply{t: s.t, what: err.Error()}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return &reply{s.t, method + " " + path + " " + body, resp.StatusCode, resp.Header, got}
}

// is checks the status.
func (r *reply) is(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Errorf("%.300s: %d %.500s; want %d", r.what, r.status, r.body, status)
	}
	return r
}

// fails checks a problem's status, and parts of what it says.
func (r *reply) fails(status int, parts ...string) {
	r.t.Helper()
	r.is(status)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Errorf("%.300s: the type is %s", r.what, got)
	}
	var p httpapi.Problem
	r.into(&p)
	for _, part := range parts {
		if !strings.Contains(p.Type+" "+p.Detail, part) {
			r.t.Errorf("%.300s: %s %q lacks %q", r.what, p.Type, p.Detail, part)
		}
	}
}

func (r *reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%s: %v in %s", r.what, err, r.body)
	}
}

func as[T any](r *reply) T {
	r.t.Helper()
	var v T
	r.into(&v)
	return v
}

// submit stores one task of a function.
func (s *server) submit(key, function string) taskapi.Task {
	s.t.Helper()
	return as[taskapi.Task](s.do(key, "POST", "/v1/tasks", `{"function":"`+function+`"}`).is(201))
}

type claimedList struct{ Tasks []taskapi.Claimed }

// claim claims one task.
func (s *server) claim(key, function string) taskapi.Claimed {
	s.t.Helper()
	got := as[claimedList](s.do(key, "POST", "/v1/worker/claim", `{"functions":["`+function+`"]}`).is(200))
	if len(got.Tasks) != 1 {
		s.t.Fatalf("%d tasks were claimed", len(got.Tasks))
	}
	return got.Tasks[0]
}

// task reads a task.
func (s *server) task(key, id string) taskapi.Task {
	s.t.Helper()
	return as[taskapi.Task](s.do(key, "GET", "/v1/tasks/"+id, "").is(200))
}

// event is one server-sent event.
type event struct {
	name string
	task taskapi.Task
}

// follow opens a stream of events; the channel is closed when it ends.
func (s *server) follow(key, id string) <-chan event {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", s.URL+"/v1/tasks/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	resp, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Accel-Buffering") != "no" {
		s.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	events := make(chan event, 100)
	go func() {
		defer close(events)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		var e event
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				e.name = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e.task); err != nil {
					s.t.Error(err)
				}
				events <- e
				e = event{}
			}
		}
	}()
	return events
}
