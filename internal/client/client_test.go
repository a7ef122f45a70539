package client_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"safelight/internal/client"
	"safelight/internal/httpapi/taskapi"
)

// serve is a client of a handler.
func serve(t *testing.T, key string, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "127.0.0.1:8080", "ftp://x", "http://"} {
		if _, err := client.New(bad, ""); err == nil || !strings.Contains(err.Error(), "expected a URL") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, key   string
		status      int
		body        string
		detail, typ string
	}{
		{"a problem", "k", 404, `{"type":"urn:safelight:problem:not-found","detail":"there is no task with this id"}`, "there is no task with this id", "urn:safelight:problem:not-found"},
		{"something else", "k", 502, "<html>", "does not say why", ""},
		{"no key", "", 401, `{"type":"t","detail":"this needs a key: send it as Authorization"}`, "--key", "t"},
		{"an unknown key", "k", 401, `{"type":"t","detail":"the key is not known"}`, "the key is not known", "t"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := serve(t, c.key, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := cl.Task(t.Context(), "x")
			var no *client.Error
			if !errors.As(err, &no) || no.Status != c.status || !strings.Contains(no.Error(), c.detail) || no.Type != c.typ {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there now
	c, err := client.New("http://"+ln.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Task(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "no server answers at http://127.0.0.1:") {
		t.Errorf("%v", err)
	}
	if _, err := c.Watch(t.Context(), "x", func(taskapi.Task) {}); err == nil || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("%v", err)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	c := serve(t, "secret", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.Store(fmt.Sprint(r.Method, " ", r.URL, " ", string(body), " ", r.Header.Get("Authorization")))
		_, _ = io.WriteString(w, `{"id":"a","state":"ready","changed":3}`)
	})
	check := func(want string, err error) {
		t.Helper()
		if got := seen.Load(); got != want+" Bearer secret" || err != nil {
			t.Errorf("%v, %v; want %s", got, err, want)
		}
	}
	task, err := c.Submit(t.Context(), taskapi.Submission{Function: "f"})
	check(`POST /v1/tasks {"function":"f"}`, err)
	if task.ID != "a" {
		t.Errorf("%+v", task)
	}
	task, err = c.Task(t.Context(), "a/b")
	check(`GET /v1/tasks/a%2Fb `, err)
	if task.State != "ready" {
		t.Errorf("%+v", task)
	}
	task, err = c.Alter(t.Context(), client.Retry, "a")
	check(`POST /v1/tasks/a/retry `, err)
	if task.ID != "a" {
		t.Errorf("%+v", task)
	}
	n, err := c.AlterAll(t.Context(), client.Cancel, taskapi.Filter{State: "ready"})
	check(`POST /v1/tasks/cancel {"state":"ready"}`, err)
	if n != 3 {
		t.Errorf("%d", n)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit := 0
		_, _ = fmt.Sscan(q.Get("limit"), &limit)
		n := min(limit, 2) // pages as short as a server likes
		at := len(q.Get("cursor"))
		tasks := strings.Repeat(`{"id":"x"},`, n)
		cursor := ""
		if at < 3 {
			cursor = strings.Repeat("c", at+1)
		}
		_, _ = fmt.Fprintf(w, `{"tasks":[%s],"next_cursor":%q}`, strings.TrimSuffix(tasks, ","), cursor)
	})
	for limit, want := range map[int]int{0: 8, 1: 1, 2: 2, 3: 3, 5: 5, 100: 8} {
		got := 0
		if err := c.List(t.Context(), taskapi.Filter{}, limit, func(taskapi.Task) error { got++; return nil }); err != nil || got != want {
			t.Errorf("limit %d: %d tasks, %v; want %d", limit, got, err, want)
		}
	}
	stop := errors.New("enough")
	if err := c.List(t.Context(), taskapi.Filter{}, 0, func(taskapi.Task) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}

func TestWatchReconnects(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		n := connections.Add(1)
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, ":\n\nevent: task\ndata: {\"id\":\"a\",\"state\":\"running\",\"waiting_for\":\"workers\",\"progress\":%d}\n\n", n)
		if n == 3 {
			_, _ = io.WriteString(w, "event: task\ndata: {\"id\":\"a\",\"state\":\"done\",\"progress\":100}\n\nevent: end\ndata: {}\n\n")
		}
	})
	var seen []int
	got, err := c.Watch(t.Context(), "a", func(t taskapi.Task) { seen = append(seen, t.Progress) })
	if err != nil || got.State != "done" || got.WaitingFor != "" || fmt.Sprint(seen) != "[1 3 100]" {
		t.Errorf("%+v, %v, %v", got, err, seen)
	}
}

func TestWatchUnknown(t *testing.T) {
	t.Parallel()
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"type":"t","detail":"there is no task with this id"}`)
	})
	if _, err := c.Watch(t.Context(), "a", func(taskapi.Task) {}); err == nil || err.Error() != "there is no task with this id" {
		t.Errorf("%v", err)
	}
}
