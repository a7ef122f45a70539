package taskapi

import (
	"encoding/json"
	"net/http"
	"time"

	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/task"
	"safelight/internal/work"
)

// Beat is a heartbeat.
type Beat struct {
	Progress *int   `json:"progress,omitempty" minimum:"0" maximum:"100"`
	Message  string `json:"message,omitempty" doc:"What is being done, with progress; cut after 256 bytes"`
	Extend   string `json:"extend,omitempty" doc:"How long from now until the next heartbeat is due, 1s to 10m; 0s leaves the lease as it is. Absent is extend of the URL, or 30s"`
}

// Outcome is how an attempt ended.
type Outcome struct {
	Outcome string          `json:"outcome" enum:"done,failed,later"`
	Result  json.RawMessage `json:"result,omitempty" doc:"With done and failed: a JSON value of at most 64 KiB"`
	Error   string          `json:"error,omitempty" doc:"With failed and later: why; cut after 4 KiB"`
	Final   bool            `json:"final,omitempty" doc:"With failed: another attempt would fail too"`
	Delay   string          `json:"delay,omitempty" doc:"With later: how long to wait, such as 90s; 10s where absent"`
}

// Report is one report of several.
type Report struct {
	ID       string          `json:"id"`
	Lease    string          `json:"lease"`
	Outcome  string          `json:"outcome" enum:"beat,done,failed,later"`
	Progress *int            `json:"progress,omitempty" minimum:"0" maximum:"100"`
	Message  string          `json:"message,omitempty"`
	Extend   string          `json:"extend,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
	Final    bool            `json:"final,omitempty"`
	Delay    string          `json:"delay,omitempty"`
}

// Reported is what became of a report.
type Reported struct {
	ID         string    `json:"id,omitempty"`
	State      string    `json:"state,omitempty" enum:"scheduled,ready,running,done,dead,cancelled"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	Error      any       `json:"error,omitempty" doc:"A problem document"`
}

const (
	beat         = "beat"
	defaultDelay = 10 * time.Second // of a task that is given back for later
)

// heartbeat extends a lease, and takes word of progress.
func (a *API) heartbeat(w http.ResponseWriter, r *http.Request, _ auth.Principal) error {
	var in Beat
	if err := readInto(r, &in); err != nil {
		return err
	}
	if in.Extend == "" {
		in.Extend = r.URL.Query().Get("extend")
	}
	return a.reportOne(w, r, &Report{Outcome: beat, Progress: in.Progress, Message: in.Message, Extend: in.Extend})
}

// report ends an attempt.
func (a *API) report(w http.ResponseWriter, r *http.Request, _ auth.Principal) error {
	var in Outcome
	if err := readInto(r, &in); err != nil {
		return err
	}
	if in.Outcome == beat {
		return fault.New(fault.Invalid, "outcome: expected done, failed or later; a heartbeat has a URL of its own")
	}
	return a.reportOne(w, r, &Report{Outcome: in.Outcome, Result: in.Result, Error: in.Error, Final: in.Final, Delay: in.Delay})
}

func readInto(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return decodeOptional(body, v)
}

func (a *API) reportOne(w http.ResponseWriter, r *http.Request, in *Report) error {
	in.ID, in.Lease = r.PathValue("id"), r.URL.Query().Get("lease")
	report, err := a.readReport(in)
	if err != nil {
		return err
	}
	done, err := a.deliver(r, report)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Reported{State: done.State.String(), LeaseUntil: done.Until})
}

// deliver reports one thing.
func (a *API) deliver(r *http.Request, report task.Report) (task.Reported, error) {
	done, err := a.Engine.Report(r.Context(), []task.Report{report})
	if err != nil {
		return task.Reported{}, err
	}
	return done[0], done[0].Err
}

type reportsBody struct {
	Reports []Report `json:"reports"`
}

type reportedList struct {
	Results []Reported `json:"results"`
}

// reports takes many reports, each for itself.
func (a *API) reports(w http.ResponseWriter, r *http.Request, _ auth.Principal) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var in reportsBody
	if err := decode(body, &in); err != nil {
		return inItem[Report](body, "reports", err)
	}
	n := len(in.Reports)
	if n < 1 || n > task.MaxBatch {
		return fault.Limit(fault.Invalid, "reports of one request", task.MaxBatch, int64(n), "reports: expected 1 to %d reports but received %d", task.MaxBatch, n)
	}
	out := reportedList{make([]Reported, n)}
	good := make([]task.Report, 0, n)
	places := make([]int, 0, n) // of the good ones
	for i := range in.Reports {
		out.Results[i].ID = in.Reports[i].ID
		report, err := a.readReport(&in.Reports[i])
		if err != nil {
			out.Results[i].Error = a.front.ProblemBody(err)
			continue
		}
		good, places = append(good, report), append(places, i)
	}
	if len(good) > 0 {
		done, err := a.Engine.Report(r.Context(), good)
		if err != nil {
			return err
		}
		for i := range done {
			result := &out.Results[places[i]]
			if done[i].Err != nil {
				result.Error = a.front.ProblemBody(done[i].Err)
				if known := fault.As(done[i].Err); known == nil || known.Code != work.CodeRefused { // then the task has not changed
					continue
				}
			}
			result.State, result.LeaseUntil = done[i].State.String(), done[i].Until
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

// readReport reads a report. What task.Report.Check refuses is left to the
// queue.
func (a *API) readReport(in *Report) (task.Report, error) {
	out := task.Report{Lease: in.Lease}
	var err error
	if out.ID, err = a.taskID(in.ID); err != nil {
		return out, err
	}
	if in.Lease == "" {
		return out, fault.New(fault.Invalid, "lease: it is missing; it came with the claim")
	}
	if err := in.fits(); err != nil {
		return out, err
	}
	if string(in.Result) != "null" {
		out.Result = in.Result
	}
	out.Error, out.Final = in.Error, in.Final
	switch in.Outcome {
	case beat:
		err = in.readBeat(&out)
	case "done":
		out.Kind = task.Succeeded
	case "failed":
		out.Kind = task.Failed
	case "later":
		out.Kind = task.Later
		out.Delay, err = duration("delay", in.Delay, defaultDelay, 0, task.MaxAhead)
	}
	return out, err
}

func (in *Report) readBeat(out *task.Report) error {
	out.Kind, out.Progress, out.Message = task.Beat, in.Progress, in.Message
	if in.Progress == nil && in.Message != "" {
		return fault.New(fault.Invalid, "message: it needs progress (0 to 100) beside it")
	}
	var err error
	out.Extend, err = duration("extend", in.Extend, defaultLease, 0, task.MaxLease)
	if err == nil && out.Extend > 0 && out.Extend < minLease {
		err = fault.New(fault.Invalid, "extend: %s is not 0s and not from %s to %s", out.Extend, minLease, task.MaxLease)
	}
	return err
}

// fits refuses fields that do not go with the outcome: what is sent and
// ignored would be missed later.
func (in *Report) fits() error {
	var result, reason, final, delay, progress bool
	switch in.Outcome {
	case beat:
		progress = true
	case "done":
		result = true
	case "failed":
		result, reason, final = true, true, true
	case "later":
		reason, delay = true, true
	default:
		return fault.New(fault.Invalid, "outcome: expected beat, done, failed or later but received %.40q", in.Outcome)
	}
	for _, f := range []struct {
		name           string
		given, allowed bool
	}{
		{"result", len(in.Result) > 0, result}, {"error", in.Error != "", reason}, {"final", in.Final, final}, {"delay", in.Delay != "", delay},
		{"progress", in.Progress != nil, progress}, {"message", in.Message != "", progress}, {"extend", in.Extend != "", progress},
	} {
		if f.given && !f.allowed {
			return fault.New(fault.Invalid, "%s: it does not go with the outcome %q", f.name, in.Outcome)
		}
	}
	return nil
}

// held is the task that a worker holds under the lease of a request.
func (a *API) held(r *http.Request, p auth.Principal) (task.Task, error) {
	id, err := a.taskID(r.PathValue("id"))
	if err != nil {
		return task.Task{}, err
	}
	lease, err := leaseOf(r)
	if err != nil {
		return task.Task{}, err
	}
	t, err := a.Tasks.Task(r.Context(), reach(p), id)
	if err != nil {
		return t, err
	}
	// A report that says nothing is held against the lease and its clock.
	_, err = a.deliver(r, task.Report{ID: id, Lease: lease, Kind: task.Beat})
	return t, err
}

func leaseOf(r *http.Request) (string, error) {
	lease := r.URL.Query().Get("lease")
	if lease == "" {
		return "", fault.New(fault.Invalid, "lease: the query parameter is missing; the URLs that came with the claim have it")
	}
	return lease, nil
}
