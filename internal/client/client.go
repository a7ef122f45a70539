// Package client speaks to a Safelight server over HTTP, for the command line.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"safelight/internal/httpapi/taskapi"
)

// Client asks one server with one key. It is safe for concurrent use.
type Client struct {
	server string // URL without a slash at its end
	key    string
	http   *http.Client
}

// answerTime is how long a server may take to begin an answer.
const answerTime = time.Minute

// maxIdle is how many connections are kept for requests at the same time.
const maxIdle = 64

// New makes a client; key "" sends none.
func New(server, key string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server: expected a URL such as http://127.0.0.1:8080 but received %q", server)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerTime
	transport.MaxIdleConnsPerHost = maxIdle
	return &Client{server: strings.TrimSuffix(server, "/"), key: key, http: &http.Client{Transport: transport}}, nil
}

// Error is an answer that says no.
type Error struct {
	Status int
	Type   string // of the problem document; "" where the answer was none
	Detail string
}

// Error is the problem's detail.
func (e *Error) Error() string { return e.Detail }

// maxProblem is how much of an answer that says no is read.
const maxProblem = 64 << 10

// ask sends a request and answers its response, whose status is good. The
// caller closes its body.
func (c *Client) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.server+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return c.send(r)
}

// send sends a request as ask does.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(r.Context(), err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	return resp, nil
}

// unreachable says in plain words why there is no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &unreachable{fmt.Errorf("no server answers at %s; is it running? (safelight serve)", c.server)}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &unreachable{fmt.Errorf("the server at %s did not answer in time", c.server)}
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return &unreachable{fmt.Errorf("the server at %s can't be reached: %w", c.server, err)}
}

// unreachable is an error after which another try may succeed.
type unreachable struct{ error }

func (u *unreachable) Unwrap() error { return u.error }

// refusal reads an answer that says no.
func (c *Client) refusal(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var p struct{ Type, Detail string }
	if json.Unmarshal(text, &p) == nil && p.Detail != "" {
		e.Type, e.Detail = p.Type, p.Detail
	} else {
		e.Detail = fmt.Sprintf("%s answers %s, and does not say why; is it a Safelight server?", c.server, resp.Status)
	}
	if resp.StatusCode == http.StatusUnauthorized && c.key == "" {
		e.Detail = "the server wants a key: give it with --key, or in SAFELIGHT_KEY"
	}
	return e
}

// do asks, and reads the answer into out.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.read(ctx, resp, out)
}

// read reads an answer into out.
func (c *Client) read(ctx context.Context, resp *http.Response, out any) error {
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the answer of %s can't be read: %w", c.server, err)
	}
	return nil
}

// Submit stores a task.
func (c *Client) Submit(ctx context.Context, s taskapi.Submission) (taskapi.Task, error) {
	var t taskapi.Task
	err := c.do(ctx, http.MethodPost, "/v1/tasks", s, &t)
	return t, err
}

// Task finds a task.
func (c *Client) Task(ctx context.Context, id string) (taskapi.Task, error) {
	var t taskapi.Task
	err := c.do(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id), nil, &t)
	return t, err
}

// pageSize is how many tasks are asked for at once.
const pageSize = 1000

// List calls fn with tasks that a filter selects, newest first, up to limit
// (0 is all), until fn fails.
func (c *Client) List(ctx context.Context, f taskapi.Filter, limit int, fn func(taskapi.Task) error) error {
	query := url.Values{}
	for name, value := range map[string]string{"state": f.State, "function": f.Function, "name": f.Name, "image": f.Image} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for left := limit; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, left)
		}
		query.Set("limit", strconv.Itoa(size))
		var page taskapi.List
		if err := c.do(ctx, http.MethodGet, "/v1/tasks?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, t := range page.Tasks {
			if err := fn(t); err != nil {
				return err
			}
		}
		left -= len(page.Tasks)
		if page.NextCursor == "" || limit > 0 && left <= 0 {
			return nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

// Action is what Alter does.
type Action string

// The actions.
const (
	Cancel Action = "cancel"
	Retry  Action = "retry"
)

// Alter cancels or retries one task.
func (c *Client) Alter(ctx context.Context, action Action, id string) (taskapi.Task, error) {
	var t taskapi.Task
	err := c.do(ctx, http.MethodPost, "/v1/tasks/"+url.PathEscape(id)+"/"+string(action), nil, &t)
	return t, err
}

// AlterAll cancels or retries the tasks that a filter selects, and tells how
// many there were.
func (c *Client) AlterAll(ctx context.Context, action Action, f taskapi.Filter) (int, error) {
	var out taskapi.Changed
	err := c.do(ctx, http.MethodPost, "/v1/tasks/"+string(action), f, &out)
	return out.Changed, err
}
