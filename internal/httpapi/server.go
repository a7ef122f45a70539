// Package httpapi is Safelight over HTTP: uploads, originals and renditions,
// the JSON interface under /v1, health and the first page. It translates; what
// is done is done by the services.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/dialect/native"
	"safelight/internal/fault"
	"safelight/internal/httpapi/nodeapi"
	"safelight/internal/httpapi/taskapi"
	"safelight/internal/ingest"
	"safelight/internal/node"
	"safelight/internal/plan"
	"safelight/internal/purge"
	"safelight/internal/remote"
	"safelight/internal/render"
)

// Metrics counts what passes. Implementations are safe for concurrent use and
// cheap: Request is on the fast path.
type Metrics interface {
	Request(route, method string, status int, d time.Duration)
	Upload(outcome string, bytes int64, d time.Duration)
	Rendition(status render.Status)
}

// Check is a dependency that health answers for. The server is ready without
// one that is Optional.
type Check struct {
	Name     string
	Ping     func(context.Context) error
	Optional bool
}

// Deps are the parts that the transport speaks for.
type Deps struct {
	Ingest  *ingest.Service
	Remote  *remote.Service
	Mirrors Mirrors
	Render  *render.Service
	Purge   *purge.Service
	Catalog catalog.Catalog
	Home    *blob.Home
	Disk    cache.Cache // lists an image's renditions
	Auth    auth.Authenticator
	Mint    *asset.Mint
	Presets native.Presets

	Negotiated plan.Accept // the formats that format=auto may answer with, beside those that all clients show

	Nodes nodeapi.Nodes // nil leaves them out
	Role  node.Role

	Pipeline Pipeline
	Metrics  Metrics
	Checks   []Check
	Expose   http.Handler // /metrics
	Version  string
	Log      *slog.Logger
	Tasks    *taskapi.Deps // nil leaves tasks out; its Mint and PublicURL are filled in
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	Deps
	config Config
	log    *slog.Logger
	mux    *http.ServeMux
	hot    *hot
	tasks  *taskapi.API // nil without tasks
	ready  atomic.Bool

	draining atomic.Bool
}

// New makes the handler over its parts. It is not ready before SetReady.
func New(config Config, deps Deps) *Server {
	s := &Server{Deps: deps, config: config, log: deps.Log, mux: http.NewServeMux(), hot: newHot(config.HotEntries)}
	if s.Tasks != nil {
		d := *s.Tasks
		d.Mint, d.PublicURL = s.Mint, config.PublicURL
		s.tasks = taskapi.New(front{s}, d)
	}
	s.routes()
	return s
}

// SetReady turns readiness on or off; a server that drains is not ready.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// SetDraining makes the server not ready, and has each connection closed after
// its next answer. Everything is still answered.
func (s *Server) SetDraining() {
	s.SetReady(false)
	s.draining.Store(true)
}

// Drain also ends the requests that only wait, so that they don't hold up a stop.
func (s *Server) Drain() {
	s.SetDraining()
	if s.tasks != nil {
		s.tasks.Drain()
	}
}

func (s *Server) routes() {
	s.mux.HandleFunc("POST /upload", s.require(auth.Upload, s.upload))
	s.mux.HandleFunc("PUT /images/{key...}", s.require(auth.Upload, s.put))
	s.mux.HandleFunc("GET /images/{key...}", s.show(s.byKey))
	s.mux.HandleFunc("GET /image/{id}", s.show(s.byID))
	s.mux.HandleFunc("GET /remote/{signature}/{encoded}", s.showRemote)
	s.mux.HandleFunc("POST /v1/events/s3", s.s3Events)
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.HandleFunc("GET /metrics", s.require(auth.Admin, s.Expose.ServeHTTP))
	s.pages()
	s.api()
}

// ServeHTTP answers from the fast path where it can, and otherwise through the
// middle: request id, panic, metrics, log.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	if s.serveHot(w, r, start) {
		return
	}
	id := newRequestID()
	r = withRequestID(r, id)
	rec := &recorder{ResponseWriter: w}
	rec.Header().Set("X-Request-Id", id)
	defer s.done(rec, r, id, start)
	r.Body = &pacedBody{ReadCloser: r.Body, rc: http.NewResponseController(w), idle: s.config.BodyIdle, answer: s.config.AnswerTime}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && path.Clean(r.URL.Path) != r.URL.Path {
		s.fail(rec, r, fault.New(fault.Invalid, "the path has empty segments, or segments of dots")) // the mux would redirect, and lose the body
		return
	}
	if !s.Role.Serves() && !healthPaths[r.URL.Path] {
		s.fail(rec, r, misdirected())
		return
	}
	if h, pattern := s.mux.Handler(r); pattern == "" {
		s.unrouted(rec, r, h)
		return
	}
	s.mux.ServeHTTP(rec, r)
}

// healthPaths are what a node answers that only carries out tasks.
var healthPaths = map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true}

// misdirected tells a client that this node is not for requests.
func misdirected() *Problem {
	return &Problem{Type: "urn:safelight:problem:misdirected", Title: titleOf(http.StatusMisdirectedRequest), Status: http.StatusMisdirectedRequest,
		Detail: "this node only carries out tasks (its role is worker), and answers /healthz, /readyz and /metrics; requests are for nodes with the role api or all"}
}

// unrouted answers what no route is for as a problem document: 404, or 405 with
// the methods that there are.
func (s *Server) unrouted(w http.ResponseWriter, r *http.Request, mux http.Handler) {
	said := &recorder{ResponseWriter: discard{http.Header{}}}
	mux.ServeHTTP(said, r)
	allow := said.Header().Get("Allow")
	if said.status != http.StatusMethodNotAllowed || allow == "" {
		s.fail(w, r, fault.New(fault.NotFound, "there is nothing at this path; what there is stands at /docs"))
		return
	}
	w.Header().Set("Allow", allow)
	s.fail(w, r, &Problem{Type: "urn:safelight:problem:method-not-allowed", Title: titleOf(said.status), Status: said.status,
		Detail: "this path takes " + allow})
}

// discard is a ResponseWriter for an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
