package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/auth"
)

// front is what the server gives to packages that serve a part of it.
type front struct{ *Server }

func (f front) Operation(method, path, id, summary string, scope auth.Scope) huma.Operation {
	op := f.operation(method, path, id, summary, scope)
	op.Tags = []string{"tasks"}
	return op
}

func (f front) Permit(r *http.Request, scope auth.Scope) (auth.Principal, error) {
	return f.permit(r, scope)
}

func (front) Principal(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey).(auth.Principal)
	return p
}

func (f front) Problem(ctx context.Context, err error) error { return f.problem(ctx, err) }

func (f front) ProblemBody(err error) any {
	p := problemOf(err, "")
	if p.Status >= 500 {
		f.log.Error("one item of a request failed", "status", p.Status, "error", err)
	}
	return p
}

func (f front) Fail(w http.ResponseWriter, r *http.Request, err error) { f.fail(w, r, err) }
