package taskapi

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// input gives a worker its picture.
func (a *API) input(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	t, err := a.held(r, p)
	if err != nil {
		return err
	}
	c, err := a.Files.Input(r.Context(), t)
	if err != nil {
		return err
	}
	send(w, r, c)
	return nil
}

// takeOutput stores what a worker made.
func (a *API) takeOutput(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	t, err := a.held(r, p)
	if err != nil {
		return err
	}
	if r.Header.Get("Content-Range") != "" {
		return fault.New(fault.Invalid, "a part of an output can't be stored (Content-Range); send all of it")
	}
	out, err := a.Files.TakeOutput(r.Context(), t, classified{r.Body})
	if err != nil {
		return err
	}
	if _, err := a.deliver(r, task.Report{ID: t.ID, Lease: r.URL.Query().Get("lease"), Kind: task.Beat, Output: &out}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.output(t.ID, out))
}

// classified gives errors of a body their kind.
type classified struct{ io.Reader }

func (c classified) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = bodyError(err)
	}
	return n, err
}

// download sends what a worker made.
func (a *API) download(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	id, err := a.taskID(r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := a.Tasks.Task(r.Context(), p.Owner, id)
	if err != nil {
		return err
	}
	if t.Output == nil {
		return fault.New(fault.NotFound, "no worker has uploaded anything for this task")
	}
	c, err := a.Files.OpenOutput(r.Context(), t)
	if err != nil {
		return err
	}
	send(w, r, c)
	return nil
}

// send writes content, or a part of it. It is never taken for a page or a
// script, whatever its bytes.
func send(w http.ResponseWriter, r *http.Request, c Content) {
	defer c.Body.Close()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	if c.Digest != (asset.Digest{}) {
		h.Set("Etag", fmt.Sprintf("%q", c.Digest))
	}
	if c.Type == "" {
		c.Type = "application/octet-stream"
	}
	h.Set("Content-Type", c.Type)
	const slowest = 32 << 10 // bytes a second that a client may take its time at
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime + time.Duration(c.Bytes/slowest)*time.Second))
	http.ServeContent(w, r, "", time.Time{}, c.Body)
}
