package taskapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Limits of claims.
const (
	maxWait      = time.Minute
	minLease     = time.Second // a network is between
	defaultLease = 30 * time.Second
	answerTime   = time.Minute // for a client to read an answer
)

// Claim is what a worker asks for.
type Claim struct {
	Functions []string `json:"functions" minItems:"1" maxItems:"100"`
	Max       *int     `json:"max,omitempty" minimum:"1" maximum:"1000" default:"1" doc:"Most tasks to hand out"`
	Wait      string   `json:"wait,omitempty" doc:"How long to wait for one, 0s to 1m; 0s where absent"`
	Lease     string   `json:"lease,omitempty" doc:"How long until a heartbeat is due, 1s to 10m; 30s where absent"`
	Worker    string   `json:"worker,omitempty" doc:"Who asks, for people; the key's name where absent"`
}

type claimedList struct {
	Tasks []Claimed `json:"tasks"`
}

// claim hands out tasks, and waits for one if there is none.
func (a *API) claim(w http.ResponseWriter, r *http.Request, p auth.Principal) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var in Claim
	if err := decode(body, &in); err != nil {
		return err
	}
	c, err := in.read(p)
	if err != nil {
		return err
	}
	wait, err := duration("wait", in.Wait, 0, 0, maxWait)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + answerTime))
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.draining, cancel)()
	tasks, err := a.waitFor(ctx, c, wait)
	if err != nil && a.draining.Err() == nil {
		return err
	}
	out := claimedList{make([]Claimed, len(tasks))}
	base := a.absolute(r)
	for i := range tasks {
		out.Tasks[i] = a.claimed(&tasks[i], base, c.Lease)
	}
	return writeJSON(w, http.StatusOK, out)
}

// waitFor claims, unless the client has gone already: nobody would have the
// tasks until their leases end.
func (a *API) waitFor(ctx context.Context, c task.Claim, wait time.Duration) ([]task.Task, error) {
	if ctx.Err() != nil {
		return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the client went away")
	}
	tasks, err := a.Engine.Claim(ctx, c, wait)
	if err != nil && ctx.Err() != nil {
		return nil, fault.Wrap(fault.Canceled, err, "the client went away")
	}
	return tasks, err
}

// read checks what a claim asks for.
func (in *Claim) read(p auth.Principal) (task.Claim, error) {
	c := task.Claim{Functions: in.Functions, Owner: reach(p), Worker: in.Worker, Max: 1}
	slices.Sort(c.Functions)
	c.Functions = slices.Compact(c.Functions)
	if in.Max != nil {
		c.Max = *in.Max
	}
	if c.Worker == "" {
		c.Worker = task.Cut(p.Name, task.MaxNameBytes)
	}
	if strings.HasPrefix(c.Worker, task.NodePrefix) {
		return c, fault.New(fault.Invalid, "worker: names that begin with %q are the server's own", task.NodePrefix)
	}
	var err error
	if c.Lease, err = duration("lease", in.Lease, defaultLease, minLease, task.MaxLease); err != nil {
		return c, err
	}
	return c, c.Check()
}

// absolute is what URLs for a worker start with.
func (a *API) absolute(r *http.Request) string {
	switch {
	case a.base != "":
		return a.base
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (a *API) claimed(t *task.Task, base string, lease time.Duration) Claimed {
	at := base + "/v1/worker/tasks/" + t.ID.String()
	token := "?lease=" + t.Lease
	out := Claimed{Task: a.describe(t), Lease: t.Lease, Deadline: t.Deadline,
		URLs: URLs{Heartbeat: at + "/heartbeat" + token, Report: at + "/report" + token, Output: at + "/output" + token}}
	if lease != defaultLease { // a heartbeat without a word extends by as much as was claimed
		out.URLs.Heartbeat += "&extend=" + lease.String()
	}
	if t.Image != (asset.ID{}) {
		out.URLs.Input = at + "/input" + token
	}
	return out
}
