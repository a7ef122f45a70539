package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"safelight/internal/cache"
	"safelight/internal/fastlane"
	"safelight/internal/plan"
	"safelight/internal/render"
)

// hot keeps prepared answers to whole request lines, so that a rendition that
// is asked for again is written without parsing, lookups or allocation of its
// headers. An answer is given only while the epoch of the name it was made for
// stands still, that is until the key is moved or the image deleted.
//
// The bodies are those of the memory cache; this holds references to them, and
// is bounded by their bytes too.
type hot struct{ answers *otter.Cache[line, *answer] }

// line is what an answer depends on.
type line struct {
	owner, uri string
	accept     plan.Accept
}

// answer is a rendition ready to be written. It does not change.
type answer struct {
	epoch     *atomic.Uint32
	at        uint32
	body      []byte
	etag      string
	route     string
	header    []headerField   // of a 200
	raw       fastlane.Answer // of a 200, for the fast lane
	unchanged []headerField   // of a 304
}

type headerField struct {
	name  string
	value []string
}

// maxHotBytes bounds the bodies that prepared answers keep from being freed.
const (
	maxHotBytes = 64 << 20
	maxHotBody  = 512 << 10
	maxURI      = 1024
)

func newHot(entries int) *hot {
	if entries == 0 {
		return nil
	}
	return &hot{otter.Must(&otter.Options[line, *answer]{
		MaximumWeight: maxHotBytes,
		Weigher: func(l line, a *answer) uint32 {
			return uint32(max(len(a.body)+len(l.uri)+800, maxHotBytes/entries))
		},
	})}
}

// find looks for a prepared answer that is still true.
func (h *hot) find(l line) *answer {
	a, ok := h.answers.GetIfPresent(l)
	if !ok || a.epoch.Load() != a.at {
		return nil
	}
	return a
}

// accept is what a client says of the formats that answers here depend on. Others
// must not tell clients apart: each class of them has prepared answers of its own.
func (s *Server) accept(header string) plan.Accept { return plan.ParseAccept(header).And(s.Negotiated) }

// Answer finds a prepared answer for the fast lane. It lets in whom reader
// would let in without credentials.
func (s *Server) Answer(r *fastlane.Request) *fastlane.Answer {
	if s.hot == nil || s.draining.Load() || !strings.HasPrefix(r.URI, "/image") || !strings.Contains(r.URI, "?") {
		return nil
	}
	if s.Auth.Empty() {
		if r.Forwarded || !localAddress(r.Remote) || !localHost(r.Host) {
			return nil
		}
	} else if !s.config.PublicRead {
		return nil
	}
	a := s.hot.find(line{s.ownerOf(r.Host), r.URI, s.accept(r.Accept)})
	if a == nil {
		return nil
	}
	return &a.raw
}

// Answered counts what the fast lane has answered.
func (s *Server) Answered(r *fastlane.Request, a *fastlane.Answer, took time.Duration) {
	method := http.MethodGet
	if r.Head {
		method = http.MethodHead
	}
	route := "/images/{key...}"
	if strings.HasPrefix(r.URI, "/image/") {
		route = "/image/{id}"
	}
	s.Metrics.Rendition(render.FromMemory)
	s.Metrics.Request(route, method, http.StatusOK, took)
	if s.config.AccessLog {
		s.log.Info("request", "method", method, "uri", r.URI, "status", http.StatusOK, "bytes", len(a.Body),
			"duration_ms", float64(took.Microseconds())/1000, "remote", r.Remote)
	}
}

// serveHot answers from a prepared answer, and tells whether it did. It is for
// what the fast lane leaves: conditions, ranges, credentials, other transports.
func (s *Server) serveHot(w http.ResponseWriter, r *http.Request, start time.Time) bool {
	if s.hot == nil || r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasPrefix(r.RequestURI, "/image") || r.URL.RawQuery == "" {
		return false
	}
	p, err := s.reader(r)
	if err != nil {
		return false
	}
	a := s.hot.find(line{p.Owner, r.RequestURI, s.accept(first(r.Header["Accept"]))})
	if a == nil {
		return false
	}
	status := a.write(w, r)
	s.Metrics.Rendition(render.FromMemory)
	d := time.Since(start)
	s.Metrics.Request(a.route, r.Method, status, d)
	if s.config.AccessLog {
		s.log.Info("request", "method", r.Method, "path", r.URL.Path, "query", r.URL.RawQuery, "status", status, "bytes", len(a.body),
			"duration_ms", float64(d.Microseconds())/1000, "remote", r.RemoteAddr)
	}
	return true
}

func first(values []string) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	}
	return strings.Join(values, ",")
}

// write sends the answer: 304 when the client has it, a part when it asks for
// one, or all of it.
func (a *answer) write(w http.ResponseWriter, r *http.Request) int {
	h := w.Header()
	if match := r.Header["If-None-Match"]; match != nil && etagMatches(first(match), a.etag) {
		for _, f := range a.unchanged {
			h[f.name] = f.value
		}
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	for _, f := range a.header {
		h[f.name] = f.value
	}
	if _, ranged := r.Header["Range"]; ranged {
		delete(h, "Content-Length")
		rec := &recorder{ResponseWriter: w}
		http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(a.body))
		return rec.status
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(a.body)
	}
	return http.StatusOK
}

// etagMatches tells whether an If-None-Match header names an entity tag, by
// weak comparison.
func etagMatches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}

// prepare keeps an answer for the fast path.
func (s *Server) prepare(r *http.Request, owner string, accept plan.Accept, epoch *atomic.Uint32, at uint32, h http.Header, e *cache.Entry, etag string) {
	if !strings.HasPrefix(r.RequestURI, "/image") { // of a remote source its age must be looked at
		return
	}
	if s.hot == nil || e.Data == nil || len(e.Data) > maxHotBody || len(r.RequestURI) > maxURI || epoch.Load() != at {
		return
	}
	a := &answer{epoch: epoch, at: at, body: e.Data, etag: etag, route: routeOf(r)}
	for _, name := range []string{"Content-Type", "Etag", "Cache-Control", "Vary", "Content-Disposition", "X-Content-Type-Options", "Content-Security-Policy", "Access-Control-Allow-Origin"} {
		values := h[name]
		if values == nil {
			continue
		}
		a.header = append(a.header, headerField{name, values})
		if name == "Etag" || name == "Cache-Control" || name == "Vary" || name == "Access-Control-Allow-Origin" {
			a.unchanged = append(a.unchanged, headerField{name, values})
		}
	}
	a.header = append(a.header,
		headerField{"Content-Length", []string{strconv.Itoa(len(e.Data))}},
		headerField{"Cache-Status", []string{"Safelight; hit; detail=memory"}})
	a.raw = fastlane.Answer{Header: rawHeader(a.header), Body: a.body}
	s.hot.answers.Set(line{owner, r.RequestURI, accept}, a)
}

// rawHeader writes the status line and the header fields of a 200 as they go
// over the wire.
func rawHeader(fields []headerField) []byte {
	out := []byte("HTTP/1.1 200 OK\r\n")
	for _, f := range fields {
		for _, v := range f.value {
			out = append(out, f.name+": "+v+"\r\n"...)
		}
	}
	return out
}
