package taskapi

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/auth"
)

// route is one that huma does not serve: its answer is a stream, or waits, or
// there are too many of it for what huma does to each.
type route struct {
	method, path, id, summary, about string
	scope                            auth.Scope
	serve                            handler
	body                             reflect.Type // of the request; nil is none or bytes
	status                           string
	answer                           reflect.Type // nil is answerType's bytes
	answerType                       string
	takes                            string // media type of a body of bytes
	lease                            bool   // the lease is a query parameter
}

func (a *API) raw() []route {
	const tasks, held = "/v1/tasks", "/v1/worker/tasks/{id}"
	return []route{
		{method: http.MethodPost, path: tasks, id: "submit-tasks", summary: "Submits a task, or several, all or none", scope: auth.Upload, serve: a.submit,
			about: "Several are {\"tasks\": […]}, 1 to 1000, and so is the answer. Functions of the server itself need the scope admin.",
			body:  reflect.TypeFor[Submission](), status: "201", answer: reflect.TypeFor[Task]()},
		{method: http.MethodGet, path: tasks + "/{id}/events", id: "follow-task", summary: "Follows a task until it is finished", scope: auth.Read, serve: a.events,
			about:  "Server-sent events: task, with the task as JSON, at once and whenever it has changed; end when it is finished.",
			status: "200", answerType: "text/event-stream"},
		{method: http.MethodGet, path: tasks + "/{id}/output", id: "get-task-output", summary: "What a worker uploaded for a task", scope: auth.Read, serve: a.download,
			status: "200", answerType: "*/*"},
		{method: http.MethodPost, path: "/v1/worker/claim", id: "claim-tasks", summary: "Hands out tasks to a worker, and waits for one", scope: auth.Worker, serve: a.claim,
			body: reflect.TypeFor[Claim](), status: "200", answer: reflect.TypeFor[claimedList]()},
		{method: http.MethodPost, path: held + "/heartbeat", id: "beat-task", summary: "Extends a lease, and tells progress", scope: auth.Worker, serve: a.heartbeat, lease: true,
			body: reflect.TypeFor[Beat](), status: "200", answer: reflect.TypeFor[Reported]()},
		{method: http.MethodPost, path: held + "/report", id: "report-task", summary: "Ends an attempt", scope: auth.Worker, serve: a.report, lease: true,
			about: "A result that the server could not take over: 422 with the type urn:safelight:problem:result-refused; the attempt has failed.",
			body:  reflect.TypeFor[Outcome](), status: "200", answer: reflect.TypeFor[Reported]()},
		{method: http.MethodGet, path: held + "/input", id: "get-task-input", summary: "The picture that a task is about", scope: auth.Worker, serve: a.input, lease: true,
			status: "200", answerType: "image/*"},
		{method: http.MethodPut, path: held + "/output", id: "put-task-output", summary: "Stores what a worker made", scope: auth.Worker, serve: a.takeOutput, lease: true,
			takes: "*/*", status: "200", answer: reflect.TypeFor[Output]()},
		{method: http.MethodPost, path: "/v1/worker/reports", id: "report-tasks", summary: "Takes 1 to 1000 reports, each for itself", scope: auth.Worker, serve: a.reports,
			body: reflect.TypeFor[reportsBody](), status: "200", answer: reflect.TypeFor[reportedList]()},
	}
}

// describe is the route in the OpenAPI document.
func (r route) describe(schemas huma.Registry) *huma.Operation {
	bytes := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	content := func(t reflect.Type, media string) map[string]*huma.MediaType {
		if t == nil {
			return map[string]*huma.MediaType{media: {Schema: bytes}}
		}
		return map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(schemas, t)}}
	}
	op := &huma.Operation{
		Method: r.method, Path: r.path, OperationID: r.id, Summary: r.summary, Description: r.about, Tags: []string{"tasks"},
		Security: []map[string][]string{{"bearer": {string(r.scope)}}},
		Responses: map[string]*huma.Response{
			r.status: {Description: "Done", Content: content(r.answer, r.answerType)},
			"default": {Description: "A problem document", Content: map[string]*huma.MediaType{
				"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}}},
		},
	}
	if r.body != nil || r.takes != "" {
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(r.body, r.takes)}
	}
	text := &huma.Schema{Type: huma.TypeString}
	if strings.Contains(r.path, "{id}") {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "id", In: "path", Required: true, Schema: text})
	}
	if r.lease {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "lease", In: "query", Required: true, Schema: text,
			Description: "The token of the claim. Under one that has ended: 409 with the type urn:safelight:problem:lease-lost."})
	}
	return op
}
