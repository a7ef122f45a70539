package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Uploaded is what an upload answers of a stored file.
type Uploaded struct {
	ID      asset.ID     `json:"id"`
	Key     string       `json:"key"`
	Name    string       `json:"name"`
	URL     string       `json:"url"`
	Tasks   []TaskRef    `json:"tasks" doc:"What was submitted with the image"`
	Format  string       `json:"format"`
	Width   int          `json:"width"`
	Height  int          `json:"height"`
	Pages   int          `json:"pages"`
	Bytes   int64        `json:"bytes"`
	SHA256  asset.Digest `json:"sha256"`
	Presets []PresetInfo `json:"presets" doc:"What is made of it now; their URLs work at once"`
	Index   *int         `json:"index,omitempty" doc:"Which file of the request, from 0"`
}

// uploaded describes a stored image.
func (s *Server) uploaded(stored catalog.Result) Uploaded {
	img := stored.Image
	w, h := img.Source.Header.Upright()
	return Uploaded{
		ID: img.ID, Key: img.Key, Name: img.Name, URL: s.urlOf(img), Tasks: s.taskRefs(stored.Tasks), Presets: s.promisedPresets(img), Format: img.Source.Header.Format.String(),
		Width: w, Height: h, Pages: max(img.Source.Header.Pages, 1), Bytes: img.Source.Bytes, SHA256: img.Source.Digest,
	}
}

// base is what URLs in answers start with.
func (s *Server) base() string { return strings.TrimSuffix(s.config.PublicURL, "/") }

// urlOf is where an image is shown: by its key, or by its id when no key points
// at it.
func (s *Server) urlOf(img asset.Image) string {
	base := s.base()
	if img.Key == "" {
		return base + "/image/" + img.ID.String()
	}
	segments := strings.Split(img.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return base + "/images/" + strings.Join(segments, "/")
}

// result is what became of one file of a request.
type result struct {
	Name      string
	stored    catalog.Result
	err       error
	server    *Server
	requestID string
}

type failed struct {
	Name  string   `json:"name"`
	Index int      `json:"index"`
	Error *Problem `json:"error"`
}

// body is the result as it is answered.
func (r result) body(index int) any {
	if r.err != nil {
		return failed{asset.CleanName(r.Name), index, problemOf(r.err, r.requestID)}
	}
	up := r.server.uploaded(r.stored)
	up.Index = &index
	return up
}

// summary closes a stream of results.
type summary struct {
	Files  int   `json:"files"`
	Stored int   `json:"stored"`
	Failed int   `json:"failed"`
	Bytes  int64 `json:"bytes"`

	Warnings []string `json:"warnings,omitempty"`
}

// results gathers what became of the files of a request: as one document in
// the files' order, or as lines in the order in which they were committed. It
// never blocks who adds, so that a client which reads only after it has sent
// everything can't bring the upload to a halt.
type results struct {
	mu      sync.Mutex
	all     []numbered // for one document
	queue   [][]byte   // lines not written yet
	wake    chan struct{}
	written chan struct{} // closed when the writer has stopped; nil without a stream
	ended   bool
	total   summary
	first   error
}

type numbered struct {
	ordinal int
	body    any
}

// newAnswer begins to stream at once when the client accepts lines.
func newAnswer(w http.ResponseWriter, r *http.Request) *results {
	a := &results{wake: make(chan struct{}, 1)}
	if !strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		return a
	}
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 always is
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	_ = rc.Flush()
	a.written = make(chan struct{})
	go a.stream(w, rc)
	return a
}

// add takes one file's result.
func (a *results) add(ordinal int, r result) {
	body := r.body(ordinal)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.Files++
	if r.err != nil {
		a.total.Failed++
		if a.first == nil {
			a.first = r.err
		}
	} else {
		a.total.Stored++
		a.total.Bytes += r.stored.Image.Source.Bytes
	}
	if a.written == nil {
		a.all = append(a.all, numbered{ordinal, body})
		return
	}
	a.push(body)
}

// warn notes what the client should know although nothing failed.
func (a *results) warn(warning string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.Warnings = append(a.total.Warnings, warning)
}

// push queues a line; a.mu is held.
func (a *results) push(body any) {
	line, err := json.Marshal(body)
	if err != nil {
		line = []byte(`{"error":{"detail":"this result could not be written"}}`)
	}
	a.queue = append(a.queue, append(line, '\n'))
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// stream writes lines as they come, until the end or until the client is gone.
func (a *results) stream(w http.ResponseWriter, rc *http.ResponseController) {
	defer close(a.written)
	gone := false
	for range a.wake {
		a.mu.Lock()
		lines, ended := a.queue, a.ended
		a.queue = nil
		a.mu.Unlock()
		for _, line := range lines {
			if gone {
				break
			}
			patience(w, 1<<20)
			if _, err := w.Write(line); err != nil {
				gone = true
			}
		}
		if !gone && rc.Flush() != nil {
			gone = true
		}
		if ended {
			return
		}
	}
}

// finish writes the document, or the summary line.
func (a *results) finish(s *Server, w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if a.written != nil {
		a.ended = true
		a.push(map[string]summary{"summary": a.total})
		a.mu.Unlock()
		<-a.written
		return
	}
	defer a.mu.Unlock()
	if a.total.Files == 0 {
		s.fail(w, r, fault.New(fault.Invalid, "there is no file in the request: curl -F image=@photo.jpg"))
		return
	}
	status := http.StatusCreated
	switch {
	case a.total.Stored == 0:
		p := problemOf(a.first, requestID(r))
		status = p.Status
		if p.retryAfterSeconds > 0 {
			w.Header().Set("Retry-After", "1")
		}
	case a.total.Failed > 0:
		status = http.StatusMultiStatus
	}
	slices.SortStableFunc(a.all, func(x, y numbered) int { return x.ordinal - y.ordinal })
	files := make([]any, len(a.all))
	for i, n := range a.all {
		files[i] = n.body
	}
	body := map[string]any{"files": files}
	if a.total.Warnings != nil {
		body["warnings"] = a.total.Warnings
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
