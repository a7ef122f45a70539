package taskapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// operations registers what huma serves.
func (a *API) operations(api huma.API) {
	huma.Register(api, a.front.Operation(http.MethodGet, "/v1/tasks", "list-tasks", "Tasks, newest first", auth.Read), a.list)
	huma.Register(api, a.front.Operation(http.MethodGet, "/v1/tasks/{id}", "get-task", "A task", auth.Read), a.get)
	huma.Register(api, a.front.Operation(http.MethodGet, "/v1/functions", "list-functions",
		"Functions, who carries them out, and how many tasks they have", auth.Read), a.functions)
	a.alteration(api, "cancel", task.Cancel, "Cancels a task that waits or runs", "Cancels the tasks that a filter selects and that wait or run")
	a.alteration(api, "retry", task.Retry, "Lets a dead or cancelled task start over, or a waiting one run now",
		"Lets the tasks that a filter selects start over, or run now")
}

// alteration registers an action on one task, and on all that a filter selects.
func (a *API) alteration(api huma.API, name string, action task.Action, one, many string) {
	op := a.front.Operation(http.MethodPost, "/v1/tasks/{id}/"+name, name+"-task", one, auth.Upload)
	op.Errors = append(op.Errors, http.StatusConflict)
	huma.Register(api, op, func(ctx context.Context, in *taskPath) (*taskAnswer, error) { return a.alterOne(ctx, action, in.ID) })
	huma.Register(api, a.front.Operation(http.MethodPost, "/v1/tasks/"+name, name+"-tasks", many, auth.Upload),
		func(ctx context.Context, in *filterBody) (*changedAnswer, error) {
			return a.alterMany(ctx, action, in.Body)
		})
}

type taskPath struct {
	ID string `path:"id" doc:"The task's id"`
}

type taskAnswer struct{ Body Task }

func (a *API) get(ctx context.Context, in *taskPath) (*taskAnswer, error) {
	id, err := a.taskID(in.ID)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	t, err := a.Tasks.Task(ctx, a.front.Principal(ctx).Owner, id)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	return &taskAnswer{a.describe(&t)}, nil
}

type listQuery struct {
	State    string `query:"state" doc:"One or several, with commas between: scheduled, ready, running, done, dead, cancelled"`
	Function string `query:"function"`
	Name     string `query:"name"`
	Image    string `query:"image" doc:"Id of the image that the tasks are about"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor   string `query:"cursor" doc:"next_cursor of the page before; empty for the newest tasks"`
}

// List is a page of a listing.
type List struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Absent on the last page"`
}

type listAnswer struct{ Body List }

func (a *API) list(ctx context.Context, in *listQuery) (*listAnswer, error) {
	f, err := a.filter(ctx, Filter{State: in.State, Function: in.Function, Name: in.Name, Image: in.Image})
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	q := task.Query{Filter: f, Limit: in.Limit}
	if in.Cursor != "" {
		if q.Before, err = a.Mint.Parse(in.Cursor); err != nil {
			return nil, a.front.Problem(ctx, fault.New(fault.Invalid, "cursor: expected the next_cursor of an earlier page"))
		}
	}
	page, err := a.Tasks.List(ctx, q)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	out := &listAnswer{List{Tasks: a.describeAll(page.Tasks)}}
	if n := len(page.Tasks); page.More && n > 0 {
		out.Body.NextCursor = page.Tasks[n-1].ID.String()
	}
	return out, nil
}

// Filter selects tasks to alter.
type Filter struct {
	State    string `json:"state,omitempty" doc:"One or several, with commas between"`
	Function string `json:"function,omitempty"`
	Name     string `json:"name,omitempty"`
	Image    string `json:"image,omitempty" doc:"Id of the image that the tasks are about"`
	All      bool   `json:"all,omitempty" doc:"Selects every task; needed where nothing else is given"`
}

type filterBody struct{ Body Filter }

type changedAnswer struct{ Body Changed }

// Changed tells how many tasks an action has changed.
type Changed struct {
	Changed int `json:"changed"`
}

// filter reads a filter, for the tasks of who asks.
func (a *API) filter(ctx context.Context, in Filter) (task.Filter, error) {
	f := task.Filter{Owner: a.front.Principal(ctx).Owner, Function: in.Function, Name: in.Name}
	var err error
	if f.Image, err = a.imageID(in.Image); err != nil {
		return f, err
	}
	for name := range strings.SplitSeq(in.State, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		state, err := task.ParseState(name)
		if err != nil {
			return f, err
		}
		f.States = append(f.States, state)
	}
	return f, nil
}

func (a *API) alterOne(ctx context.Context, action task.Action, text string) (*taskAnswer, error) {
	id, err := a.taskID(text)
	if err == nil {
		_, err = a.Tasks.Alter(ctx, action, task.Filter{Owner: a.front.Principal(ctx).Owner, ID: id})
	}
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	return a.get(ctx, &taskPath{text})
}

func (a *API) alterMany(ctx context.Context, action task.Action, in Filter) (*changedAnswer, error) {
	f, err := a.filter(ctx, in)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	empty := len(f.States) == 0 && in.Function == "" && in.Name == "" && in.Image == ""
	switch {
	case empty && !in.All:
		err = fault.New(fault.Invalid, `the filter is empty; to select every task, say "all": true`)
	case !empty && in.All:
		err = fault.New(fault.Invalid, "all: it can't stand beside a filter")
	}
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	n, err := a.Tasks.Alter(ctx, action, f)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	return &changedAnswer{Changed{n}}, nil
}

// Function is a function as JSON.
type Function struct {
	Name        string         `json:"name"`
	Server      bool           `json:"server" doc:"Carried out by the server itself"`
	LastClaimed time.Time      `json:"last_claimed,omitzero" doc:"When a worker last asked for it"`
	Attended    bool           `json:"attended" doc:"The server carries it out, or a worker has asked for it within the last minute"`
	Tasks       map[string]int `json:"tasks" doc:"How many there are, by state"`
	Oldest      time.Time      `json:"oldest,omitzero" doc:"Since when the first of those that are ready waits"`
}

type functionsAnswer struct {
	Body struct {
		Functions []Function `json:"functions"`
	}
}

func (a *API) functions(ctx context.Context, _ *struct{}) (*functionsAnswer, error) {
	all, err := a.Engine.Functions(ctx)
	if err != nil {
		return nil, a.front.Problem(ctx, err)
	}
	out := &functionsAnswer{}
	out.Body.Functions = make([]Function, len(all))
	for i, f := range all {
		counts := make(map[string]int, len(f.Waiting))
		for state, n := range f.Waiting {
			counts[state.String()] = n
		}
		out.Body.Functions[i] = Function{Name: f.Name, Server: f.Own, LastClaimed: f.Asked, Attended: a.Attended(f.Name), Tasks: counts, Oldest: f.Oldest}
	}
	return out, nil
}
