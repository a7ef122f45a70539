package taskapi

import (
	"encoding/json"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Task is a task as JSON. The token of its lease is not in it.
type Task struct {
	ID          string          `json:"id" doc:"Sorts by the time of submission"`
	Owner       string          `json:"owner"`
	Function    string          `json:"function"`
	Name        string          `json:"name,omitempty" doc:"One live task of the function has it"`
	Args        json.RawMessage `json:"args,omitempty" doc:"A JSON object"`
	Image       string          `json:"image,omitempty" doc:"Id of the image that it is about"`
	Input       string          `json:"input,omitempty" doc:"Which rendition of the image a worker is given, as options; absent is the original"`
	Priority    int             `json:"priority" doc:"Higher goes first"`
	RunAt       time.Time       `json:"run_at,omitzero" doc:"Not before this time"`
	Attempt     int             `json:"attempt" doc:"Attempts that have begun"`
	MaxAttempts int             `json:"max_attempts,omitempty" doc:"Absent is the function's"`
	Timeout     string          `json:"timeout,omitempty" doc:"Of one attempt, such as 90s; absent is the function's"`
	Lock        *Lock           `json:"lock,omitempty"`
	State       string          `json:"state" enum:"scheduled,ready,running,done,dead,cancelled"`
	Again       bool            `json:"again,omitempty" doc:"Submitted again while it runs; it will run once more"`
	WaitingFor  string          `json:"waiting_for,omitempty" enum:"workers" doc:"Nobody has asked for this function within the last minute"`
	Worker      string          `json:"worker,omitempty" doc:"Who has it, or had it last"`
	LeaseUntil  time.Time       `json:"lease_until,omitzero" doc:"When it is taken back without a heartbeat"`
	Progress    int             `json:"progress" doc:"0 to 100, as the worker says"`
	Message     string          `json:"message,omitempty" doc:"What the worker says it is doing"`
	Error       string          `json:"error,omitempty" doc:"Of the last attempt that failed"`
	Result      json.RawMessage `json:"result,omitempty"`
	Output      *Output         `json:"output,omitempty" doc:"What the worker uploaded"`
	Created     time.Time       `json:"created,omitzero"`
	Started     time.Time       `json:"started,omitzero" doc:"Of the last attempt"`
	Finished    time.Time       `json:"finished,omitzero"`
	Updated     time.Time       `json:"updated,omitzero"`
	URL         string          `json:"url"`
}

// Lock lets at most Limit tasks with its name run at once.
type Lock struct {
	Name  string `json:"name"`
	Limit int    `json:"limit,omitempty"`
}

// Output describes what a worker uploaded.
type Output struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Type   string `json:"type" doc:"Media type, as told by the bytes"`
	URL    string `json:"url"`
}

// Claimed is a task as the worker sees it that has claimed it.
type Claimed struct {
	Task
	Lease    string    `json:"lease" doc:"Token that every report needs"`
	Deadline time.Time `json:"deadline" doc:"When the attempt ends, whatever its heartbeats"`
	URLs     URLs      `json:"urls"`
}

// URLs are where a worker goes on; the lease is in them.
type URLs struct {
	Heartbeat string `json:"heartbeat"`
	Report    string `json:"report"`
	Input     string `json:"input,omitempty" doc:"Absent where the task has no image"`
	Output    string `json:"output"`
}

// describe puts a task into its JSON form.
func (a *API) describe(t *task.Task) Task {
	id := t.ID.String()
	out := Task{
		ID: id, Owner: t.Owner, Function: t.Function, Name: t.Name, Args: t.Args, Input: t.Input, Priority: t.Priority, RunAt: t.RunAt,
		Attempt: t.Attempt, MaxAttempts: t.MaxAttempts, State: t.State.String(), Again: t.Again != nil,
		Worker: t.Worker, LeaseUntil: t.Until, Progress: t.Progress, Message: t.Message, Error: t.Error, Result: t.Result,
		Created: t.Created, Started: t.Started, Finished: t.Finished, Updated: t.Updated, URL: a.base + "/v1/tasks/" + id,
	}
	if t.Image != (asset.ID{}) {
		out.Image = t.Image.String()
	}
	if t.Timeout > 0 {
		out.Timeout = t.Timeout.String()
	}
	if t.Lock.Name != "" {
		out.Lock = &Lock{t.Lock.Name, t.Lock.Limit}
	}
	if t.Output != nil {
		out.Output = a.output(t.ID, *t.Output)
	}
	if t.State == task.Ready && !a.Attended(t.Function) {
		out.WaitingFor = "workers"
	}
	return out
}

func (a *API) describeAll(tasks []task.Task) []Task {
	out := make([]Task, len(tasks))
	for i := range tasks {
		out[i] = a.describe(&tasks[i])
	}
	return out
}

func (a *API) output(id asset.ID, o task.Output) *Output {
	return &Output{SHA256: o.Digest.String(), Bytes: o.Bytes, Type: o.Type, URL: a.base + "/v1/tasks/" + id.String() + "/output"}
}

// taskID reads the id of a task from a path.
func (a *API) taskID(text string) (asset.ID, error) {
	id, err := a.Mint.Parse(text)
	if err != nil {
		return id, fault.New(fault.NotFound, "there is no task with this id")
	}
	return id, nil
}
