// Package e2e tests Safelight from outside: the real binary as a process of
// its own, spoken to over HTTP, with real files on a real disk.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the server under test, with the race detector if the tests have
// it; plain is the same without, for figures of memory and time.
var binary, plain string

func TestMain(m *testing.M) {
	if server := os.Getenv(crashWorkerOf); server != "" {
		beCrashWorker(server)
	}
	dir, err := os.MkdirTemp("", "safelight-e2e-")
	if err != nil {
		panic(err)
	}
	plain = filepath.Join(dir, "safelight")
	binary = plain
	build(plain)
	if raceFlags != nil {
		binary = filepath.Join(dir, "safelight-race")
		build(binary, raceFlags...)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(to string, flags ...string) {
	args := append([]string{"build", "-o", to}, flags...)
	if out, err := exec.Command("go", append(args, "safelight/cmd/safelight")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
}

// server is a running Safelight.
type server struct {
	t      testing.TB
	url    string
	data   string
	key    string // to ask with
	cmd    *exec.Cmd
	log    *lines
	stderr io.Closer
	done   chan struct{} // closed when the process has been reaped
	err    error         // its exit, after done
}

// lines keeps what a process wrote.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.WriteString(s + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

var address = regexp.MustCompile(`Safelight is at (http://\S+)`)

// start runs a server over a data directory ("" is a fresh one) with settings
// as environment variables, and stops it when the test ends.
func start(t testing.TB, data string, env ...string) *server {
	t.Helper()
	return launch(t, data, []string{binary}, env...)
}

// launch is start with the command to run: a binary, perhaps behind something
// like prlimit.
func launch(t testing.TB, data string, command []string, env ...string) *server {
	t.Helper()
	return launchAt(t, "127.0.0.1:0", data, command, env...)
}

// launchAt is launch with the address to listen on, for a server that comes
// back at the same place.
func launchAt(t testing.TB, listen, data string, command []string, env ...string) *server {
	t.Helper()
	if data == "" {
		data = t.TempDir()
	}
	args := append(command, "serve", "--listen", listen, "--data", data)
	s := &server{t: t, data: data, cmd: exec.Command(args[0], args[1:]...), log: &lines{}, done: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stderr = stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 1)
	go func() {
		scan := bufio.NewScanner(stderr)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			s.log.add(scan.Text())
			if m := address.FindStringSubmatch(scan.Text()); m != nil {
				found <- m[1]
			}
		}
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(s.kill)
	select {
	case s.url = <-found:
	case <-s.done:
		t.Fatalf("the server did not start: %v\n%s", s.err, s.log)
	case <-time.After(time.Minute):
		t.Fatalf("the server did not say where it is\n%s", s.log)
	}
	return s
}

// kill ends the server and its codec processes at once, as a power cut would
// end them.
func (s *server) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
	if strings.Contains(s.log.String(), "DATA RACE") {
		s.t.Errorf("the race detector spoke:\n%s", s.log)
	}
}

// stop asks the server to end and answers how it did.
func (s *server) stop() error {
	s.signal(syscall.SIGTERM)
	return s.err
}

// signal sends a signal that ends the server, and waits until it has.
func (s *server) signal(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	<-s.done
}

// alive fails the test if the server's process has ended.
func (s *server) alive() {
	s.t.Helper()
	select {
	case <-s.done:
		s.t.Fatalf("the server ended: %v\n%s", s.err, s.log)
	default:
	}
}

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("answer %d is not JSON: %v\n%.500s", a.status, err, a.body)
	}
}

// client keeps connections and waits long enough for anything but a hang.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	Timeout:       2 * time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request; header is name, value, name, value …
func (s *server) do(method, path string, body io.Reader, header ...string) answer {
	s.t.Helper()
	a, err := s.try(method, path, body, header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.log)
	}
	return a
}

func (s *server) try(method, path string, body io.Reader, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, body)
	if err != nil {
		return answer{}, err
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, all}, err
}

func (s *server) get(path string, header ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, header...)
}

// file is one part of an upload: a file, or with field set a text part.
type file struct {
	name  string
	bytes []byte
	field string
}

// problem is a problem document.
type problem struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Limit  string `json:"limit"`
}

// taskRef is a task as an answer names it.
type taskRef struct {
	ID, Function, Name, State, URL string
}

// stored is one entry of an upload's answer.
type stored struct {
	ID      string       `json:"id"`
	Key     string       `json:"key"`
	Name    string       `json:"name"`
	URL     string       `json:"url"`
	Tasks   []taskRef    `json:"tasks"`
	Presets []presetInfo `json:"presets"`
	Format  string       `json:"format"`
	Width   int          `json:"width"`
	Height  int          `json:"height"`
	Pages   int          `json:"pages"`
	Bytes   int64        `json:"bytes"`
	SHA256  string       `json:"sha256"`
	Error   *problem     `json:"error"`
}

// form writes a multipart body.
func form(files ...file) (body *bytes.Buffer, contentType string) {
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for _, f := range files {
		if f.field != "" {
			_ = w.WriteField(f.field, string(f.bytes))
			continue
		}
		part, _ := w.CreateFormFile("image", f.name)
		_, _ = part.Write(f.bytes)
	}
	_ = w.Close()
	return body, w.FormDataContentType()
}

// upload sends files in one request.
func (s *server) upload(files ...file) (answer, []stored) {
	s.t.Helper()
	body, contentType := form(files...)
	a := s.do(http.MethodPost, "/upload", body, "Content-Type", contentType)
	var doc struct {
		Files []stored `json:"files"`
	}
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		a.json(s.t, &doc)
	}
	return a, doc.Files
}

// corpus is the folder of test pictures; the test is skipped where it is absent.
func corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SAFELIGHT_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.tsv")); err != nil {
		t.Skipf("no corpus at %s (set SAFELIGHT_CORPUS)", dir)
	}
	return dir
}
