package httpapi

import (
	"context"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/httpapi/nodeapi"
	"safelight/internal/options"
)

// api registers the JSON interface, and describes the rest, as OpenAPI.
func (s *Server) api() {
	humaProblems()
	config := huma.DefaultConfig("Safelight", s.Version)
	config.Info.Description = "Upload photos, get any rendition of them. Errors are RFC 9457 problem documents."
	config.DocsPath, config.CreateHooks = "", nil
	config.SchemasPath = ""
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	api := humago.New(s.mux, config)
	s.imageOperations(api)
	if s.tasks != nil {
		s.tasks.Mount(s.mux, api)
	}
	if s.Nodes != nil {
		nodeapi.Mount(api, front{s}, s.Nodes)
	}
	s.describeRaw(api.OpenAPI())
	s.docs(api.OpenAPI())
}

var humaOnce sync.Once

// humaProblems makes huma's own errors (validation, mostly) the same problem
// documents as ours.
func humaProblems() {
	humaOnce.Do(func() {
		huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
			code := fault.Invalid.String()
			if status >= 500 {
				code = fault.Internal.String()
			} else if status == http.StatusNotFound {
				code = fault.NotFound.String()
			}
			details := []string{message}
			for _, err := range errs {
				if err != nil {
					details = append(details, err.Error())
				}
			}
			return &Problem{Type: "urn:safelight:problem:" + code, Title: titleOf(status), Status: status, Detail: strings.Join(details, "; ")}
		}
	})
}

// operation describes one JSON operation that needs a scope.
func (s *Server) operation(method, path, id, summary string, scope auth.Scope) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{"images"},
		Security: []map[string][]string{{"bearer": {string(scope)}}},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			r, w := humago.Unwrap(ctx)
			if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "application/x-www-form-urlencoded" {
				r.Header.Del("Content-Type") // curl -d says so, and nothing here is a form: it's read as JSON
			}
			p, err := s.permit(r, scope)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			next(huma.WithValue(ctx, principalKey, p))
		}},
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound},
	}
}

func owner(ctx context.Context) string {
	p, _ := ctx.Value(principalKey).(auth.Principal)
	return p.Owner
}

// problem is an error as huma writes it; what is ours is logged.
func (s *Server) problem(ctx context.Context, err error) error {
	id, _ := ctx.Value(requestIDKey).(string)
	p := problemOf(err, id)
	if p.Status >= 500 {
		s.log.Error("request failed", "request_id", id, "status", p.Status, "error", err)
	}
	return p
}

// describeRaw adds the operations that huma does not serve: bodies and answers
// of theirs are streams.
func (s *Server) describeRaw(doc *huma.OpenAPI) {
	picture := map[string]*huma.MediaType{"image/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	problem := &huma.Response{Description: "A problem document", Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: huma.SchemaFromType(doc.Components.Schemas, typeOf[Problem]())}}}
	uploaded := huma.SchemaFromType(doc.Components.Schemas, typeOf[Uploaded]())
	failure := huma.SchemaFromType(doc.Components.Schemas, typeOf[failed]())
	document := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"files": {Type: huma.TypeArray, Items: &huma.Schema{OneOf: []*huma.Schema{uploaded, failure}}}}}
	answers := map[string]*huma.MediaType{"application/json": {Schema: document}, "application/x-ndjson": {Schema: uploaded}}
	form := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"image":    {Type: huma.TypeString, Format: "binary", Description: "Any number of file parts, under any names."},
		"key":      {Type: huma.TypeString, Description: "Exact key of the next file; an image there is replaced."},
		"prefix":   {Type: huma.TypeString, Description: "Folder for the keys that the files after it get from their names; a slash is added where it ends in none."},
		"tags":     {Type: huma.TypeString, Description: "With commas between; for the files after it."},
		"category": {Type: huma.TypeString, Description: "For the files after it."},
	}}
	idempotent := &huma.Param{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "A retried request with the same key answers as before instead of storing twice."}
	doc.AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: "/upload", OperationID: "upload", Tags: []string{"images"}, Summary: "Stores any number of files",
		Description: "Answers {\"files\": […]} when all is done: 201 when all were stored, 207 when some were. With Accept: application/x-ndjson, a line per file as soon as it is committed, and a summary.",
		Parameters:  []*huma.Param{idempotent},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: form}}},
		Responses: map[string]*huma.Response{"200": {Description: "A line per file", Content: answers}, "201": {Description: "All stored", Content: answers},
			"207": {Description: "Some stored", Content: answers}, "default": problem},
	})
	key := &huma.Param{Name: "key", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "A path; it may contain slashes."}
	doc.AddOperation(&huma.Operation{
		Method: http.MethodPut, Path: "/images/{key}", OperationID: "put-image", Tags: []string{"images"}, Summary: "Stores the body under a key",
		Parameters: []*huma.Param{key, idempotent,
			{Name: "If-None-Match", In: "header", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"*"}}, Description: "Refuses to replace."},
			{Name: "Content-Digest", In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Description: "sha-256=:…: of the body, checked."}},
		RequestBody: &huma.RequestBody{Required: true, Content: picture},
		Responses: map[string]*huma.Response{"201": {Description: "Stored under a new key", Content: map[string]*huma.MediaType{"application/json": {Schema: uploaded}}},
			"200": {Description: "Stored in place of another image", Content: map[string]*huma.MediaType{"application/json": {Schema: uploaded}}}, "default": problem},
	})
	shown := map[string]*huma.Response{"200": {Description: "The picture", Content: picture}, "304": {Description: "The client has it"}, "default": problem}
	doc.AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/images/{key}", OperationID: "show-image-by-key", Tags: []string{"images"},
		Summary: "The original, or with any parameter a rendition", Parameters: append([]*huma.Param{key}, renditionParams()...), Responses: shown,
	})
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}
	doc.AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/image/{id}", OperationID: "show-image-by-id", Tags: []string{"images"},
		Summary: "The original, or with any parameter a rendition", Parameters: append([]*huma.Param{id}, renditionParams()...), Responses: shown,
	})
	doc.AddOperation(remoteOperation(shown))
	doc.AddOperation(eventsOperation(huma.SchemaFromType(doc.Components.Schemas, typeOf[eventsAnswer]()), problem))
}

// renditionParams come from the table of options.
func renditionParams() []*huma.Param {
	params := []*huma.Param{
		{Name: "preset", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Options by name, from the configuration; other parameters go over them."},
		{Name: "dl", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "Download under this file name."},
	}
	for _, f := range options.Fields() {
		schema := &huma.Schema{Type: f.Type}
		for _, word := range f.Enum {
			schema.Enum = append(schema.Enum, word)
		}
		if f.Min != f.Max {
			low, high := f.Min, f.Max
			schema.Minimum, schema.Maximum = &low, &high
		}
		params = append(params, &huma.Param{Name: f.Name, In: "query", Schema: schema, Description: sentence(f)})
	}
	return params
}

func sentence(f options.Field) string {
	text := f.Doc + " Allowed: " + f.Range
	if f.Unit != "" {
		text += " (" + f.Unit + ")"
	}
	if f.Default != "" {
		text += "; by default " + f.Default
	}
	return text + "."
}
