// Package taskapi is durable tasks over HTTP: submitting and following them
// under /v1/tasks, and under /v1/worker what a worker needs that speaks nothing
// but HTTP. It translates; the engine and the queue do what is asked.
package taskapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/task"
	"safelight/internal/work"
)

// Front is what the transport around gives: who may, and how errors are
// answered.
type Front interface {
	// Operation describes a JSON operation that needs a scope.
	Operation(method, path, id, summary string, scope auth.Scope) huma.Operation
	// Permit finds who a request acts for, if they have a scope.
	Permit(r *http.Request, scope auth.Scope) (auth.Principal, error)
	// Principal is who the operation under way acts for.
	Principal(ctx context.Context) auth.Principal
	// Problem is an error as an operation returns it.
	Problem(ctx context.Context, err error) error
	// ProblemBody is an error as a JSON value, for one item of a batch.
	ProblemBody(err error) any
	// Fail answers an error.
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// Engine takes tasks and hands them out.
type Engine interface {
	Submit(ctx context.Context, tasks []task.New) ([]task.Task, error)
	// Claim waits until there is a task or the time is over, which is no
	// error. When ctx has ended it claims nothing.
	Claim(ctx context.Context, c task.Claim, wait time.Duration) ([]task.Task, error)
	Report(ctx context.Context, reports []task.Report) ([]task.Reported, error)
	Functions(ctx context.Context) ([]work.FunctionInfo, error)
}

// Tasks finds and alters tasks, as task.Queue does.
type Tasks interface {
	Task(ctx context.Context, owner string, id asset.ID) (task.Task, error)
	List(ctx context.Context, q task.Query) (task.Page, error)
	Alter(ctx context.Context, action task.Action, f task.Filter) (int, error)
}

// Files are the bytes that go with tasks.
type Files interface {
	// Input opens what a worker is given: the task's image, or the rendition
	// of it that Task.Input names.
	Input(ctx context.Context, t task.Task) (Content, error)
	// TakeOutput stores what a worker made.
	TakeOutput(ctx context.Context, t task.Task, body io.Reader) (task.Output, error)
	OpenOutput(ctx context.Context, t task.Task) (Content, error)
}

// Content is bytes to send. The caller closes Body.
type Content struct {
	Body   io.ReadSeekCloser
	Bytes  int64
	Type   string       // media type
	Digest asset.Digest // zero is unknown
}

// Deps are the parts that this package speaks for.
type Deps struct {
	Engine    Engine
	Tasks     Tasks
	Signals   *task.Signals
	Files     Files
	Mint      *asset.Mint
	PublicURL string // what URLs in answers start with; "" makes them relative, and those for workers begin with the request's host

	// Attended tells whether somebody carries out a function. It is called
	// for every task that is ready.
	Attended   func(function string) bool
	Reserved   func(function string) bool // functions that only admins may submit
	CheckInput func(input string) error   // refuses what can't be a task's input; nil takes all
}

// API answers requests about tasks. It is safe for concurrent use.
type API struct {
	Deps
	front    Front
	base     string // PublicURL without a slash at its end
	draining context.Context
	drain    context.CancelFunc
}

// New makes the API over its parts; Mount puts it under a mux.
func New(front Front, deps Deps) *API {
	a := &API{Deps: deps, front: front, base: strings.TrimSuffix(deps.PublicURL, "/")}
	a.draining, a.drain = context.WithCancel(context.Background())
	return a
}

// Drain ends what waits, for good: claims answer with nothing and streams of
// events break off, so that the server can stop. Clients come again.
func (a *API) Drain() { a.drain() }

// Mount registers the routes, and describes them in the OpenAPI document.
func (a *API) Mount(mux *http.ServeMux, api huma.API) {
	a.operations(api)
	for _, r := range a.raw() {
		mux.HandleFunc(r.method+" "+r.path, a.require(r.scope, r.serve))
		api.OpenAPI().AddOperation(r.describe(api.OpenAPI().Components.Schemas))
	}
}

// handler answers a request for somebody who may make it. What it returns is
// answered as a problem; it has written nothing then.
type handler func(w http.ResponseWriter, r *http.Request, p auth.Principal) error

func (a *API) require(scope auth.Scope, serve handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := a.front.Permit(r, scope)
		if err == nil {
			err = serve(w, r, p)
		}
		if err != nil {
			a.front.Fail(w, r, err)
		}
	}
}

// reach is the owner whose tasks a worker works on; "" is any.
func reach(p auth.Principal) string {
	if p.Owner == auth.AnyOwner {
		return ""
	}
	return p.Owner
}
