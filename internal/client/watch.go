package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"safelight/internal/httpapi/taskapi"
)

// How long Watch goes on without a server: it may be starting anew.
const (
	reconnectTries = 30
	reconnectPause = time.Second
)

// silence is how long a stream may stand still; the server sends a comment
// every 15 s.
const silence = time.Minute

// maxEvent is the longest line of a stream: a task with its arguments and its
// result, each of which may be 64 KiB and becomes longer when it is quoted.
const maxEvent = 4 << 20

// Watch calls fn with a task as it is, and whenever it has changed, until it is
// finished, and answers how it ended. A connection that breaks is made anew.
func (c *Client) Watch(ctx context.Context, id string, fn func(taskapi.Task)) (taskapi.Task, error) {
	s := &stream{fn: fn}
	for tries := 0; ; {
		before := s.events
		err := c.follow(ctx, id, s)
		if s.ended {
			return s.last, nil
		}
		var gone *unreachable
		var no *Error
		switch {
		case ctx.Err() != nil:
			return s.last, ctx.Err()
		case errors.As(err, &no) && no.Status < 500, errors.As(err, &gone) && s.events == 0:
			return s.last, err
		case s.events > before:
			tries = 0
		}
		if tries++; tries == reconnectTries {
			if err == nil {
				err = errors.New("the connection breaks off again and again")
			}
			return s.last, err
		}
		select {
		case <-time.After(reconnectPause):
		case <-ctx.Done():
			return s.last, ctx.Err()
		}
	}
}

// stream is what was learned of a task, over all connections.
type stream struct {
	fn     func(taskapi.Task)
	events int
	last   taskapi.Task
	ended  bool
}

// follow reads one connection's events until it ends.
func (c *Client) follow(ctx context.Context, id string, s *stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.ask(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id)+"/events", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	still := time.AfterFunc(silence, cancel)
	defer still.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		still.Reset(silence)
		if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = text
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
		case name == "end":
			s.ended = true
			return nil
		case name == "task":
			var t taskapi.Task // afresh: fields that are absent now would keep what they were
			if err := json.Unmarshal([]byte(data), &t); err != nil {
				return err
			}
			s.last = t
			s.events++
			s.fn(s.last)
		}
	}
	return lines.Err()
}
