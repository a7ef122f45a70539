package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"safelight/internal/fault"
)

type contextKey int

const requestIDKey contextKey = iota

var (
	processStart = strconv.FormatInt(time.Now().UnixNano(), 36)
	requests     atomic.Uint64
)

// newRequestID is unique over restarts and cheap to make.
func newRequestID() string {
	return processStart + "-" + strconv.FormatUint(requests.Add(1), 36)
}

func withRequestID(r *http.Request, id string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestIDKey, id))
}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey).(string)
	return id
}

// done ends a request: a panic becomes a problem, and the request is counted
// and logged.
func (s *Server) done(rec *recorder, r *http.Request, id string, start time.Time) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler {
			panic(p)
		}
		s.log.Error("panic", "request_id", id, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if rec.status == 0 {
			writeProblem(rec, problemOf(errors.New("panic"), id))
		}
	}
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	d := time.Since(start)
	s.Metrics.Request(routeOf(r), r.Method, status, d)
	if s.config.AccessLog {
		s.log.Info("request", "request_id", id, "method", r.Method, "path", r.URL.Path, "query", r.URL.RawQuery, "status", status,
			"bytes", rec.bytes, "duration_ms", float64(d.Microseconds())/1000, "remote", r.RemoteAddr)
	}
}

// routeOf is a route's path pattern, so that metrics have few labels.
func routeOf(r *http.Request) string {
	_, path, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		return "none"
	}
	return path
}

// recorder sees the status and the bytes of an answer, and lets files through
// to sendfile.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 || r.status < 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom hands a file to the connection itself.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	var n int64
	var err error
	if rf, ok := r.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{r.ResponseWriter}, src)
	}
	r.bytes += n
	return n, err
}

// Unwrap gives http.ResponseController the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// pacedBody gives up a body that stands still: each read must bring something
// within the idle time.
type pacedBody struct {
	io.ReadCloser
	rc     *http.ResponseController
	idle   time.Duration
	answer time.Duration // for what comes after the body
	set    time.Time
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) > b.idle/8 { // not a system call for every read
		b.set = now
		_ = b.rc.SetReadDeadline(now.Add(b.idle))
		_ = b.rc.SetWriteDeadline(now.Add(b.idle + storeDeadline + b.answer)) // the answer comes after the body
	}
	n, err := b.ReadCloser.Read(p)
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fault.Wrap(fault.Invalid, err, "the body stood still for %s", b.idle)
	}
	return n, err
}

// patience lets an answer of a size take as long as a slow but honest client
// needs.
func patience(w http.ResponseWriter, bytes int64) {
	const slowest = 32 << 10 // bytes a second
	if bytes > slowest*30 {
		d := time.Minute + time.Duration(bytes/slowest)*time.Second
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
	}
}
