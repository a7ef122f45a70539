package httpapi

import (
	"cmp"
	"context"
	"embed"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/options"
)

//go:embed static
var static embed.FS

// pagePolicy lets our pages use our own files and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pages serves the first page: a form to upload with, until there is a console.
func (s *Server) pages() {
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { page(w, r, "index.html") })
	s.mux.HandleFunc("GET /static/{file}", func(w http.ResponseWriter, r *http.Request) { page(w, r, r.PathValue("file")) })
}

func page(w http.ResponseWriter, r *http.Request, file string) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, static, "static/"+file)
}

// healthz tells how each dependency does. It is 200 as long as the process can
// answer: to restart it would not bring a dependency back.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	state, _, deps := s.examine(r.Context())
	writeJSON(w, http.StatusOK, map[string]any{"status": state, "version": s.Version, "dependencies": deps})
}

// readyz tells whether requests should be sent here.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "draining"})
		return
	}
	state, usable, deps := s.examine(r.Context())
	status := http.StatusOK
	if !usable {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]any{"status": state, "dependencies": deps})
}

type health struct {
	Status string  `json:"status"`
	RTT    float64 `json:"rtt_ms"`
	Error  string  `json:"error,omitempty"`
}

// examine asks every dependency; usable tells whether those answer without which
// no request can be served.
func (s *Server) examine(ctx context.Context) (state string, usable bool, deps map[string]health) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	state, usable, deps = "ok", true, make(map[string]health, len(s.Checks))
	for _, c := range s.Checks {
		start := time.Now()
		err := c.Ping(ctx)
		h := health{Status: "ok", RTT: float64(time.Since(start).Microseconds()) / 1000}
		if err != nil {
			state, h.Status, h.Error = "degraded", "failed", problemOf(err, "").Detail
			usable = usable && c.Optional
		}
		deps[c.Name] = h
	}
	return state, usable, deps
}

var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Safelight: HTTP interface</title><link rel="stylesheet" href="/static/style.css"></head><body><main>
<h1>HTTP interface</h1>
<p>The machine-readable form is <a href="/openapi.json">/openapi.json</a>.</p>
<table><thead><tr><th>Operation</th><th>What it does</th></tr></thead><tbody>
{{range .Operations}}<tr><td><code>{{.Method}} {{.Path}}</code></td><td>{{.Summary}}</td></tr>
{{end}}</tbody></table>
<h2>Parameters of a rendition</h2>
<table><thead><tr><th>Name</th><th>What it does</th><th>Allowed</th><th>Unit</th><th>Default</th></tr></thead><tbody>
{{range .Fields}}<tr><td><code>{{.Name}}</code></td><td>{{.Doc}}</td><td>{{.Range}}</td><td>{{.Unit}}</td><td>{{.Default}}</td></tr>
{{end}}<tr><td><code>preset</code></td><td>Options by name, from the configuration; other parameters go over them.</td><td>{{.Presets}}</td><td></td><td></td></tr>
<tr><td><code>dl</code></td><td>Download under this file name.</td><td>a file name</td><td></td><td></td></tr>
<tr><td><code>v</code>, <code>utm_*</code></td><td>Ignored.</td><td></td><td></td><td></td></tr>
</tbody></table></main></body></html>
`))

// docs serves the description for people.
func (s *Server) docs(doc *huma.OpenAPI) {
	var operations []*huma.Operation
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op != nil {
				operations = append(operations, op)
			}
		}
	}
	slices.SortFunc(operations, func(a, b *huma.Operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	var presets []string
	for name := range s.Presets {
		presets = append(presets, name)
	}
	slices.Sort(presets)
	s.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		_ = docsPage.Execute(w, map[string]any{"Operations": operations, "Fields": options.Fields(), "Presets": strings.Join(presets, ", ")})
	})
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
