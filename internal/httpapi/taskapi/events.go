package taskapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
)

// Times of a stream of events.
const (
	lookEvery    = time.Second      // for changes by other nodes, which send no signals here
	commentEvery = 15 * time.Second // so that proxies keep the connection
	writeTime    = 30 * time.Second // for a client to take one event
)

// events follows a task until it is finished, as server-sent events: one named
// task with its JSON for every change, and one named end.
func (a *API) events(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	id, err := a.taskID(r.PathValue("id"))
	if err != nil {
		return err
	}
	changed, leave := a.Signals.Watch(id) // before the first look, so that nothing is missed
	defer leave()
	s := &stream{api: a, w: w, rc: http.NewResponseController(w), owner: p.Owner, id: id}
	finished, err := s.look(r)
	if err != nil || finished || r.Method == http.MethodHead {
		return err
	}
	look, comment := time.NewTicker(lookEvery), time.NewTicker(commentEvery)
	defer look.Stop()
	defer comment.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-a.draining.Done():
			return nil // without an end: the client comes again
		case <-comment.C:
			err = s.write([]byte(":\n\n"))
		case <-changed:
			finished, err = s.look(r)
		case <-look.C:
			finished, err = s.look(r)
		}
		if err != nil || finished {
			return nil // the client is gone, or all is said
		}
	}
}

// stream is one client that follows a task.
type stream struct {
	api   *API
	w     http.ResponseWriter
	rc    *http.ResponseController
	owner string
	id    asset.ID
	begun bool
	last  []byte // JSON of the task as it was last sent
}

// look sends the task if it has changed, and tells whether it is finished.
func (s *stream) look(r *http.Request) (finished bool, err error) {
	t, err := s.api.Tasks.Task(r.Context(), s.owner, s.id)
	if err != nil {
		if s.begun && fault.Of(err) == fault.NotFound { // forgotten meanwhile
			return true, s.event("end", []byte("{}"))
		}
		if s.begun && fault.Retryable(err) {
			return false, nil
		}
		return false, err
	}
	if !s.begun {
		s.begin()
	}
	now, err := json.Marshal(s.api.describe(&t))
	if err != nil {
		return false, err
	}
	if !bytes.Equal(now, s.last) {
		s.last = now
		if err := s.event("task", now); err != nil {
			return false, err
		}
	}
	if t.State.Finished() {
		return true, s.event("end", []byte("{}"))
	}
	return false, nil
}

func (s *stream) begin() {
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies would hold events back
	h.Set("X-Content-Type-Options", "nosniff")
	s.w.WriteHeader(http.StatusOK)
}

// event sends one event; data is one line.
func (s *stream) event(name string, data []byte) error {
	b := make([]byte, 0, len(name)+len(data)+len("event: \ndata: \n\n"))
	b = append(append(b, "event: "...), name...)
	b = append(append(b, "\ndata: "...), data...)
	return s.write(append(b, "\n\n"...))
}

func (s *stream) write(b []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}
