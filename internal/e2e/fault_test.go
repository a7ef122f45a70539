package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/cdkblob/s3test"
	"safelight/internal/faultproxy"
)

// What requests may take while something is away, or is slow, and how long it may
// be until all works again. The aim is 2 s for an answer while it is away; the rest
// is for slow machines. Over a slow network requests take their round trips.
const (
	answerTime  = 8 * time.Second
	slowTime    = 20 * time.Second
	recoverTime = 10 * time.Second
	faultTime   = 6 * time.Second
	latency     = 300 * time.Millisecond
)

// dependency is a server that Safelight needs, behind a proxy.
type dependency struct {
	name  string
	proxy *faultproxy.Proxy
}

// trial is what is done to a dependency.
type trial struct {
	name string
	set  func(*faultproxy.Proxy)
	end  func(*faultproxy.Proxy)
	most time.Duration // for an answer
}

func trials() []trial {
	during := func(f faultproxy.Fault) func(*faultproxy.Proxy) {
		return func(p *faultproxy.Proxy) { p.Set(f) }
	}
	delay := func(d time.Duration) func(*faultproxy.Proxy) {
		return func(p *faultproxy.Proxy) { p.Delay(d) }
	}
	return []trial{
		{"latency", delay(latency), delay(0), slowTime},
		{"silence", during(faultproxy.Silence), during(faultproxy.None), answerTime},
		{"refuse", during(faultproxy.Refuse), during(faultproxy.None), answerTime},
	}
}

// TestDependenciesFail has clients upload and look at pictures all the time, while
// each server that Safelight needs gets slow, falls silent, and refuses in turn.
// Every request is answered soon, what is cached is served, all works again soon
// afterwards, and nothing that was acknowledged is lost.
func TestDependenciesFail(t *testing.T) {
	_, setting := database(t)
	direct, err := url.Parse(strings.TrimPrefix(setting, "SAFELIGHT_DATABASE_URL="))
	if err != nil {
		t.Fatal(err)
	}
	storage := s3test.Start(t)
	bucket := storage.Bucket("photos", "home")
	dependencies := []dependency{
		{"PostgreSQL", faultproxy.Start(t, direct.Host)},
		{"bucket", faultproxy.Start(t, strings.TrimPrefix(storage.Endpoint, "http://"))},
	}
	through := *direct
	through.Host = dependencies[0].proxy.Addr()
	common := []string{"SAFELIGHT_PRESETS={thumb: w=32&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]"}
	s := start(t, "", homeEnv(s3test.URL("http://"+dependencies[1].proxy.Addr(), "photos", "home"), append(common, "SAFELIGHT_DATABASE_URL="+through.String(), "SAFELIGHT_NODE=tried")...)...)
	other := start(t, "", homeEnv(bucket, append(common, setting, "SAFELIGHT_NODE=other")...)...)

	l := newLoad(t, s, other)
	var rows []string
	for _, d := range dependencies {
		for _, tr := range trials() {
			l.works(20)
			begin := time.Now()
			tr.set(d.proxy)
			time.Sleep(faultTime) // what is tested is what happens meanwhile
			tr.end(d.proxy)
			end := time.Now()
			back := l.healthy()
			rows = append(rows, l.judge(d.name+" "+tr.name, begin, end, back, tr.most))
		}
	}
	l.works(20)
	l.stop()
	t.Logf("worst answer of uploads, cached and uncached pictures; time until all works again\n%s", strings.Join(rows, "\n"))
	if t.Failed() {
		t.Logf("%s", s.log)
	}
	l.tasksEnd()
	l.nothingLost(start(t, "", homeEnv(bucket, setting, "SAFELIGHT_NODE=third")...))
}

// sorts of requests.
const (
	uploads  = "upload"
	cached   = "cached"
	uncached = "uncached"
)

// request is one that was answered.
type request struct {
	sort       string
	begin, end time.Time
	answer     answer
	err        error
}

// load are clients that go on and on.
type load struct {
	t        *testing.T
	s, other *server
	next     atomic.Uint64 // picture that nobody has
	done     chan struct{}
	clients  sync.WaitGroup

	mu           sync.Mutex
	requests     []request
	acknowledged map[string]string // digests by key
}

const cachedPath = "/images/cached.jpg?w=50&format=jpeg"

func newLoad(t *testing.T, s, other *server) *load {
	l := &load{t: t, s: s, other: other, done: make(chan struct{}), acknowledged: map[string]string{}}
	l.next.Store(1000)
	if a := s.do(http.MethodPut, "/images/cached.jpg", bytes.NewReader(jpegOf(t, scene(90, 60, 1))), "Content-Type", "image/jpeg"); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for range 5 { // so that an answer is prepared
		if a := s.get(cachedPath); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for _, client := range []struct {
		do func()
		n  int
	}{{l.upload, 3}, {l.readCached, 1}, {l.readUncached, 3}} {
		for range client.n {
			l.clients.Go(func() { l.repeat(client.do) })
		}
	}
	t.Cleanup(l.stop)
	return l
}

// repeat sends requests one after the other, with a short pause between them.
func (l *load) repeat(do func()) {
	pause := time.NewTicker(40 * time.Millisecond)
	defer pause.Stop()
	for {
		do()
		select {
		case <-pause.C:
		case <-l.done:
			return
		}
	}
}

func (l *load) stop() {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	l.clients.Wait()
}

// ask sends a request and notes how it went.
func (l *load) ask(sort, method, path string, body []byte) answer {
	r := request{sort: sort, begin: time.Now()}
	r.answer, r.err = l.s.try(method, path, bytes.NewReader(body), "Content-Type", "image/jpeg")
	r.end = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.err == nil && r.answer.status == http.StatusCreated {
		l.acknowledged[strings.TrimPrefix(path, "/images/")] = digestOf(body)
	}
	r.answer.header = http.Header{"Content-Type": r.answer.header["Content-Type"]}
	l.requests = append(l.requests, r)
	return r.answer
}

// picture is one that nobody has, with its path.
func (l *load) picture() (path string, body []byte) {
	n := l.next.Add(1)
	return fmt.Sprintf("/images/up/%d.jpg", n), jpegOf(l.t, scene(64, 48, n))
}

func (l *load) upload() {
	path, body := l.picture()
	l.ask(uploads, http.MethodPut, path, body)
}

func (l *load) readCached() { l.ask(cached, http.MethodGet, cachedPath, nil) }

// readUncached looks at a picture that another node has just stored, so that both
// the database and the bucket have to be asked.
func (l *load) readUncached() {
	path, body := l.picture()
	if a, err := l.other.try(http.MethodPut, path, bytes.NewReader(body), "Content-Type", "image/jpeg"); err != nil || a.status != http.StatusCreated {
		l.t.Errorf("the other node answers %d %s %v", a.status, a.body, err)
		return
	}
	l.ask(uncached, http.MethodGet, path+"?w=40&format=jpeg", nil)
}

// healthy waits until uploads and reads work, and tells how long that took.
func (l *load) healthy() time.Duration {
	l.t.Helper()
	begin := time.Now()
	seen := map[string]bool{}
	within(l.t, time.Minute, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range slices.Backward(l.requests) {
			if r.begin.Before(begin) {
				break
			}
			seen[r.sort] = seen[r.sort] || r.err == nil && r.answer.status < 300
		}
		return seen[uploads] && seen[cached] && seen[uncached]
	}, func() string { return fmt.Sprintf("of these some don't work: %v\n%s", seen, l.s.log) })
	return time.Since(begin)
}

// works waits until so many more uploads were acknowledged.
func (l *load) works(more int) {
	l.t.Helper()
	acknowledged := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acknowledged)
	}
	want := acknowledged() + more
	within(l.t, time.Minute, func() bool { return acknowledged() >= want }, func() string { return l.s.log.String() })
}

// judge looks at the requests that were under way during a fault, and at none
// twice.
func (l *load) judge(what string, begin, end time.Time, back, most time.Duration) (row string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := map[string]time.Duration{}
	statuses := map[string]int{}
	for _, r := range l.requests {
		if r.end.Before(begin) || r.begin.After(end) {
			continue
		}
		statuses[fmt.Sprint(r.sort, " ", r.answer.status)]++
		took := r.end.Sub(r.begin)
		worst[r.sort] = max(worst[r.sort], took)
		unavailable := r.answer.status == http.StatusServiceUnavailable && r.answer.header.Get("Content-Type") == "application/problem+json"
		if r.err != nil || took > most || r.answer.status >= 300 && (!unavailable || r.sort == cached) {
			l.t.Errorf("%s: an answer to %s after %v: %d %.300s %v", what, r.sort, took, r.answer.status, r.answer.body, r.err)
		}
	}
	l.requests = nil
	if back > recoverTime {
		l.t.Errorf("%s: it took %v until all worked again", what, back)
	}
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%-20s %6v %6v %6v   %6v   %v", what, round(worst[uploads]), round(worst[cached]), round(worst[uncached]), round(back), statuses)
}

// tasksEnd waits until the tasks of all pictures are done.
func (l *load) tasksEnd() {
	l.t.Helper()
	left := func(state string) string { return string(l.other.get("/v1/tasks?function=render&state=" + state).body) }
	for _, state := range []string{"scheduled", "ready", "running"} {
		within(l.t, 2*time.Minute, func() bool { return !strings.Contains(left(state), `"id"`) }, func() string { return left(state) })
	}
	if dead := left("dead"); strings.Contains(dead, `"id"`) || !strings.Contains(left("done"), `"id"`) {
		l.t.Errorf("tasks are dead: %s", dead)
	}
}

// nothingLost asks a server that has no proxies for all that was acknowledged.
func (l *load) nothingLost(s *server) {
	l.t.Helper()
	if len(l.acknowledged) < 50 {
		l.t.Errorf("only %d uploads were acknowledged", len(l.acknowledged))
	}
	for key, sum := range l.acknowledged {
		if a := s.get("/images/" + key); a.status != http.StatusOK || digestOf(a.body) != sum {
			l.t.Errorf("%s was acknowledged, and is answered with %d, %d bytes", key, a.status, len(a.body))
		}
	}
	l.t.Logf("%d acknowledged uploads are there", len(l.acknowledged))
}
