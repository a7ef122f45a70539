package taskapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Submission is a task to submit.
type Submission struct {
	Function    string          `json:"function" doc:"1 to 64 lower-case letters, digits, dots, dashes and underscores"`
	Name        string          `json:"name,omitempty" doc:"Where a live task of the function has it, that one is changed"`
	Args        json.RawMessage `json:"args,omitempty" doc:"A JSON object of at most 64 KiB"`
	Image       string          `json:"image,omitempty" doc:"Id of the image that it is about"`
	Input       string          `json:"input,omitempty" doc:"Which rendition of the image a worker is given, as options; absent is the original"`
	RunAt       string          `json:"run_at,omitempty" doc:"Not before this time, RFC 3339"`
	Delay       string          `json:"delay,omitempty" doc:"Not before this has passed, such as 90s; instead of run_at"`
	Priority    int             `json:"priority,omitempty" minimum:"-1000" maximum:"1000" doc:"Higher goes first"`
	MaxAttempts *int            `json:"max_attempts,omitempty" minimum:"1" maximum:"1000" doc:"Absent is the function's"`
	Timeout     string          `json:"timeout,omitempty" doc:"Of one attempt, such as 90s; absent is the function's"`
	Lock        *Lock           `json:"lock,omitempty" doc:"At most limit tasks with its name run at once; limit is 1 where absent"`
}

// submitBody is one task, or several.
type submitBody struct {
	Submission
	Tasks []Submission `json:"tasks"`
}

// taskList is an answer of several tasks.
type taskList struct {
	Tasks []Task `json:"tasks"`
}

// submit stores one task or several, all or none.
func (a *API) submit(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var in submitBody
	if err := decode(body, &in); err != nil {
		return inItem[Submission](body, "tasks", err)
	}
	if in.Tasks == nil {
		return a.submitOne(w, r, p, &in.Submission)
	}
	if !reflect.ValueOf(in.Submission).IsZero() {
		return fault.New(fault.Invalid, "tasks: no other field may stand beside it")
	}
	if n := len(in.Tasks); n < 1 || n > task.MaxBatch {
		return fault.Limit(fault.Invalid, "tasks of one request", task.MaxBatch, int64(n), "tasks: expected 1 to %d tasks but received %d", task.MaxBatch, n)
	}
	now := time.Now()
	tasks := make([]task.New, len(in.Tasks))
	for i := range in.Tasks {
		if tasks[i], err = a.newTask(&in.Tasks[i], p, now); err != nil {
			return at("tasks", i, err)
		}
	}
	stored, err := a.Engine.Submit(r.Context(), tasks)
	if err != nil {
		return refusedItem(tasks, now, err)
	}
	return writeJSON(w, http.StatusCreated, taskList{a.describeAll(stored)})
}

func (a *API) submitOne(w http.ResponseWriter, r *http.Request, p auth.Principal, in *Submission) error {
	n, err := a.newTask(in, p, time.Now())
	if err != nil {
		return err
	}
	stored, err := a.Engine.Submit(r.Context(), []task.New{n})
	if err != nil {
		return err
	}
	out := a.describe(&stored[0])
	w.Header().Set("Location", out.URL)
	return writeJSON(w, http.StatusCreated, out)
}

// refusedItem names the task for which a batch was refused. The queue has
// checked them all; only where one failed they are gone through again.
func refusedItem(tasks []task.New, now time.Time, refused error) error {
	if k := fault.Of(refused); k != fault.Invalid && k != fault.TooLarge {
		return refused
	}
	for i := range tasks {
		if err := tasks[i].Check(now); err != nil {
			return at("tasks", i, err)
		}
	}
	return refused
}

// newTask reads a submission. What task.New.Check refuses is left to the queue.
func (a *API) newTask(in *Submission, p auth.Principal, now time.Time) (task.New, error) {
	n := task.New{Owner: p.Owner, Function: in.Function, Name: in.Name, Args: in.Args, Input: in.Input, Priority: in.Priority}
	if a.Reserved(in.Function) && !p.May(auth.Admin) {
		return n, fault.New(fault.Denied, "function: %q is the server's own; to submit it needs a key with the scope %q", in.Function, auth.Admin)
	}
	var err error
	if n.Image, err = a.imageID(in.Image); err != nil {
		return n, err
	}
	if in.Input != "" {
		if in.Image == "" {
			return n, fault.New(fault.Invalid, "input: it names a rendition of image, which is missing")
		}
		if a.CheckInput != nil {
			if err := a.CheckInput(in.Input); err != nil {
				return n, err
			}
		}
	}
	if n.RunAt, err = runAt(in, now); err != nil {
		return n, err
	}
	if n.Timeout, err = duration("timeout", in.Timeout, 0, time.Millisecond, task.MaxTimeout); err != nil {
		return n, err
	}
	if in.MaxAttempts != nil {
		if n.MaxAttempts = *in.MaxAttempts; n.MaxAttempts < 1 {
			return n, fault.New(fault.Invalid, "max_attempts: %d is not from 1 to %d", n.MaxAttempts, task.MaxAttemptsLimit)
		}
	}
	if in.Lock != nil {
		if in.Lock.Name == "" {
			return n, fault.New(fault.Invalid, "lock: expected a name, and a limit from 1 to %d", task.MaxLockLimit)
		}
		n.Lock = task.Lock{Name: in.Lock.Name, Limit: in.Lock.Limit}
	}
	return n, nil
}

// idForm is what ids look like; those that a server has made are signed too.
var idForm = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{26}$`)

// imageID reads the id of an image in a body; "" is none.
func (a *API) imageID(text string) (asset.ID, error) {
	if text == "" {
		return asset.ID{}, nil
	}
	id, err := a.Mint.Parse(text)
	switch {
	case err == nil:
		return id, nil
	case idForm.MatchString(text):
		return id, fault.New(fault.Invalid, "image: there is no image with the id %s", text)
	}
	return id, fault.New(fault.Invalid, "image: expected the id of an image but received %.40q", text)
}

// runAt is when a submission wants to run; zero is at once.
func runAt(in *Submission, now time.Time) (time.Time, error) {
	if in.RunAt == "" {
		d, err := duration("delay", in.Delay, 0, 0, task.MaxAhead)
		if err != nil || d == 0 {
			return time.Time{}, err
		}
		return now.Add(d), nil
	}
	if in.Delay != "" {
		return time.Time{}, fault.New(fault.Invalid, "delay: it can't stand beside run_at; give one of them")
	}
	at, err := time.Parse(time.RFC3339, in.RunAt)
	if err != nil {
		return at, fault.New(fault.Invalid, "run_at: expected a time such as 2030-01-31T15:04:05Z but received %.40q", in.RunAt)
	}
	return at, nil
}
