package httpapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"syscall"

	"safelight/internal/fault"
)

// statusOf is the one table from kinds of error to HTTP statuses.
var statusOf = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Precondition:    http.StatusPreconditionFailed,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unsupported:     http.StatusUnsupportedMediaType,
	fault.Unprocessable:   http.StatusUnprocessableEntity,
	fault.Exhausted:       http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.OutOfSpace:      http.StatusInsufficientStorage,
	fault.Upstream:        http.StatusBadGateway,
	fault.Canceled:        499, // nobody is there to read it; for logs and metrics
}

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type      string `json:"type" doc:"Stable name of the kind of problem: urn:safelight:problem:…"`
	Title     string `json:"title" doc:"The kind in words"`
	Status    int    `json:"status" doc:"HTTP status"`
	Detail    string `json:"detail,omitempty" doc:"What happened, and what would be allowed"`
	Limit     string `json:"limit,omitempty" doc:"The setting that was exceeded"`
	Max       int64  `json:"max,omitempty" doc:"Its value"`
	Got       int64  `json:"got,omitempty" doc:"What came instead"`
	RequestID string `json:"request_id,omitempty" doc:"To find the request in the logs"`

	retryAfterSeconds int
}

// Error makes a Problem an error, as huma wants it.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem documents.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemOf describes an error to a client. What is not classified stays inside.
func problemOf(err error, requestID string) *Problem {
	var known *Problem
	if errors.As(err, &known) {
		known.RequestID = requestID
		return known
	}
	e := fault.As(err)
	if e == nil {
		e = &fault.Error{Kind: fault.Internal, Message: "something went wrong on our side"}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			e = &fault.Error{Kind: fault.Unavailable, Message: "too many files are open; try again soon"}
		}
	}
	status, ok := statusOf[e.Kind]
	if !ok {
		status = http.StatusInternalServerError
	}
	code := e.Code
	if code == "" {
		code = e.Kind.String()
	}
	p := &Problem{
		Type: "urn:safelight:problem:" + code, Title: titleOf(status), Status: status, Detail: e.Message,
		Limit: e.Limit, Max: e.Max, Got: e.Got, RequestID: requestID,
	}
	if e.Kind == fault.Internal {
		p.Detail = "something went wrong on our side"
	}
	if e.Kind == fault.Unavailable || e.Kind == fault.Exhausted {
		p.retryAfterSeconds = max(1, int(math.Ceil(e.RetryAfter.Seconds())))
	}
	return p
}

func titleOf(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Client Closed Request"
}

// fail answers an error as a problem document. Errors are never cached.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err, requestID(r))
	if p.Status >= 500 {
		s.log.Error("request failed", "request_id", p.RequestID, "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Disposition", "Content-Length", "Content-Encoding", "Vary"} {
		h.Del(name)
	}
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="safelight"`)
	}
	if p.retryAfterSeconds > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfterSeconds))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
