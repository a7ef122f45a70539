package taskapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"safelight/internal/httpapi/taskapi"
)

// routes are all there are, with the keys that may use them. {id} is a task.
var routes = []struct {
	method, path, body string
	allowed            []string
}{
	{"POST", "/v1/tasks", `{"function":"f"}`, []string{siteKey, adminKey}},
	{"GET", "/v1/tasks", "", []string{siteKey, readKey, adminKey}},
	{"GET", "/v1/tasks/{id}", "", []string{siteKey, readKey, adminKey}},
	{"GET", "/v1/functions", "", []string{adminKey}},
	{"POST", "/v1/tasks/{id}/cancel", "", []string{siteKey, adminKey}},
	{"POST", "/v1/tasks/{id}/retry", "", []string{siteKey, adminKey}},
	{"POST", "/v1/tasks/cancel", `{"all":true}`, []string{siteKey, adminKey}},
	{"POST", "/v1/tasks/retry", `{"all":true}`, []string{siteKey, adminKey}},
	{"GET", "/v1/tasks/{id}/output", "", []string{siteKey, readKey, adminKey}},
	{"GET", "/v1/tasks/{id}/events", "", []string{siteKey, readKey, adminKey}},
	{"POST", "/v1/worker/claim", `{"functions":["f"]}`, []string{workerKey, roamerKey, adminKey}},
	{"POST", "/v1/worker/tasks/{id}/heartbeat?lease=x", "", []string{workerKey, roamerKey, adminKey}},
	{"POST", "/v1/worker/tasks/{id}/report?lease=x", `{"outcome":"done"}`, []string{workerKey, roamerKey, adminKey}},
	{"GET", "/v1/worker/tasks/{id}/input?lease=x", "", []string{workerKey, roamerKey, adminKey}},
	{"PUT", "/v1/worker/tasks/{id}/output?lease=x", "", []string{workerKey, roamerKey, adminKey}},
	{"POST", "/v1/worker/reports", `{"reports":[{"id":"{id}","lease":"x","outcome":"done"}]}`, []string{workerKey, roamerKey, adminKey}},
}

func TestScopes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, r := range routes {
		for _, key := range []string{"", strangeKey, siteKey, readKey, workerKey, roamerKey, adminKey} {
			id := s.submit(siteKey, "x").ID
			s.do(siteKey, "POST", "/v1/tasks/"+id+"/cancel", "").is(200) // so that events end
			method := r.method
			got := s.do(key, method, strings.ReplaceAll(r.path, "{id}", id), strings.ReplaceAll(r.body, "{id}", id))
			allowed := false
			for _, k := range r.allowed {
				allowed = allowed || k == key
			}
			switch {
			case key == "" || key == strangeKey:
				got.fails(http.StatusUnauthorized)
			case !allowed:
				got.fails(http.StatusForbidden, "scope")
			case got.status == 401 || got.status == 403 || got.status >= 500:
				t.Errorf("%s %s with %s: %d %s", r.method, r.path, key, got.status, got.body)
			}
		}
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	doc := as[struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Tags        []string
			Parameters  []struct{ Name string }
			Responses   map[string]json.RawMessage
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}](s.do("", "GET", "/openapi.json", "").is(200))
	for _, r := range routes {
		path, query, _ := strings.Cut(r.path, "?")
		op := doc.Paths[path][strings.ToLower(r.method)]
		if op.OperationID == "" || fmt.Sprint(op.Tags) != "[tasks]" {
			t.Errorf("%s %s is described as %+v", r.method, path, op)
		}
		var params []string
		for _, p := range op.Parameters {
			params = append(params, p.Name)
		}
		if strings.Contains(path, "{id}") && !strings.Contains(fmt.Sprint(params), "id") || query != "" && !strings.Contains(fmt.Sprint(params), "lease") {
			t.Errorf("%s %s has the parameters %v", r.method, path, params)
		}
	}
	if doc.Components.Schemas["Problem"] == nil {
		t.Error("there is no schema of problems")
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ours, theirs := s.submit(siteKey, "f"), s.submit(shopKey, "f")
	for _, path := range []string{"", "/output", "/events"} {
		s.do(siteKey, "GET", "/v1/tasks/"+theirs.ID+path, "").fails(404, "there is no task")
	}
	for _, action := range []string{"cancel", "retry"} {
		s.do(siteKey, "POST", "/v1/tasks/"+theirs.ID+"/"+action, "").fails(404)
	}
	list := as[taskapi.List](s.do(siteKey, "GET", "/v1/tasks", "").is(200))
	if len(list.Tasks) != 1 || list.Tasks[0].ID != ours.ID {
		t.Errorf("the list has %+v", list.Tasks)
	}
	if n := as[taskapi.Changed](s.do(siteKey, "POST", "/v1/tasks/cancel", `{"all":true}`).is(200)); n.Changed != 1 {
		t.Errorf("%d were cancelled", n.Changed)
	}
	if got := s.task(shopKey, theirs.ID); got.State != "ready" {
		t.Errorf("the shop's is %s", got.State)
	}
	empty := as[claimedList](s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["f"]}`).is(200))
	if len(empty.Tasks) != 0 {
		t.Errorf("a worker of main claimed the shop's task")
	}
	held := s.claim(roamerKey, "f")
	if held.ID != theirs.ID {
		t.Errorf("%s was claimed", held.ID)
	}
	s.do(workerKey, "GET", held.URLs.Output[:strings.Index(held.URLs.Output, "/output")]+"/input?lease="+held.Lease, "").fails(404)
	s.do(workerKey, "PUT", held.URLs.Output, "x").fails(404)
	s.do(roamerKey, "POST", held.URLs.Report, `{"outcome":"done"}`).is(200)
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	image := s.mint.New(time.Now()).String()
	var ids []string
	for i := range 5 {
		body := fmt.Sprintf(`{"function":"f%d","name":"n%d"}`, i%2, i)
		if i == 4 {
			body = `{"function":"g","image":"` + image + `"}`
		}
		ids = append(ids, as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", body).is(201)).ID)
	}
	s.do(siteKey, "POST", "/v1/tasks/"+ids[0]+"/cancel", "").is(200)
	tests := []struct {
		query string
		want  []int
	}{
		{"", []int{4, 3, 2, 1, 0}},
		{"?state=", []int{4, 3, 2, 1, 0}},
		{"?state=cancelled", []int{0}},
		{"?state=cancelled,ready", []int{4, 3, 2, 1, 0}},
		{"?state=dead", nil},
		{"?function=f1", []int{3, 1}},
		{"?name=n2", []int{2}},
		{"?image=" + image, []int{4}},
		{"?function=f0&state=ready", []int{2}},
		{"?limit=2", []int{4, 3}},
	}
	for _, c := range tests {
		got := as[taskapi.List](s.do(readKey, "GET", "/v1/tasks"+c.query, "").is(200))
		var order []string
		for _, x := range got.Tasks {
			order = append(order, x.ID)
		}
		var want []string
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		if fmt.Sprint(order) != fmt.Sprint(want) || (got.NextCursor != "") != (c.query == "?limit=2") {
			t.Errorf("%s: %v, cursor %q; want %v", c.query, order, got.NextCursor, want)
		}
	}
	var paged []string
	for cursor := ""; ; {
		page := as[taskapi.List](s.do(readKey, "GET", "/v1/tasks?limit=2&cursor="+cursor, "").is(200))
		for _, x := range page.Tasks {
			paged = append(paged, x.ID)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(paged) != 5 || paged[4] != ids[0] {
		t.Errorf("in pages: %v", paged)
	}
	s.do(readKey, "GET", "/v1/tasks?state=ded", "").fails(400, "state", `"ded"`, "dead")
	s.do(readKey, "GET", "/v1/tasks?cursor=x", "").fails(400, "cursor")
	s.do(readKey, "GET", "/v1/tasks?image=x", "").fails(400, "image")
	for _, limit := range []string{"0", "1001", "x"} {
		if got := s.do(readKey, "GET", "/v1/tasks?limit="+limit, ""); got.status != 400 && got.status != 422 {
			t.Errorf("limit=%s: %d", limit, got.status)
		}
	}
	for _, id := range []string{"x", strings.Repeat("0", 26), s.mint.New(time.Now()).String()} {
		s.do(readKey, "GET", "/v1/tasks/"+id, "").fails(404, "there is no task")
	}
}

func TestAlter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := s.submit(siteKey, "f").ID
	if got := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks/"+id+"/cancel", "").is(200)); got.State != "cancelled" || got.Finished.IsZero() {
		t.Errorf("%+v", got)
	}
	s.do(siteKey, "POST", "/v1/tasks/"+id+"/cancel", "").fails(409, "cancelled")
	if got := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks/"+id+"/retry", "").is(200)); got.State != "ready" {
		t.Errorf("%+v", got)
	}
	s.submit(siteKey, "g")
	tests := []struct {
		action, body string
		changed      int // -1 is a refusal
	}{
		{"cancel", ``, -1},
		{"cancel", `{}`, -1},
		{"cancel", `{"all":false}`, -1},
		{"cancel", `{"state":","}`, -1},
		{"cancel", `{"state":"redy"}`, -1},
		{"cancel", `{"functoin":"f"}`, -1},
		{"cancel", `{"all":true,"function":"f"}`, -1},
		{"cancel", `{"image":"x"}`, -1},
		{"cancel", `{"function":"f","state":"dead,ready"}`, 1},
		{"retry", `{"function":"g","state":"dead"}`, 0},
		{"retry", `{"state":"cancelled"}`, 1},
		{"cancel", `{"all":true}`, 2},
		{"cancel", `{"all":true}`, 0},
	}
	for _, c := range tests {
		got := s.do(siteKey, "POST", "/v1/tasks/"+c.action, c.body)
		if c.changed < 0 {
			if got.status != 400 && got.status != 422 {
				t.Errorf("%s %s: %d %s", c.action, c.body, got.status, got.body)
			}
			continue
		}
		if n := as[taskapi.Changed](got.is(200)); n.Changed != c.changed {
			t.Errorf("%s %s changed %d; want %d", c.action, c.body, n.Changed, c.changed)
		}
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if got := s.submit(siteKey, "unattended"); got.WaitingFor != "workers" {
		t.Errorf("nobody does it, but it waits for %q", got.WaitingFor)
	}
	later := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", `{"function":"unattended","delay":"1h"}`).is(201))
	if later.WaitingFor != "" {
		t.Errorf("it is not due, but waits for %q", later.WaitingFor)
	}
	if got := s.submit(adminKey, "backfill"); got.WaitingFor != "" {
		t.Errorf("the server does it, but it waits for %q", got.WaitingFor)
	}
	s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["guetzli"]}`).is(200)
	got := as[struct{ Functions []taskapi.Function }](s.do(adminKey, "GET", "/v1/functions", "").is(200)).Functions
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	if f := got[0]; f.Name != "backfill" || !f.Server || !f.Attended || f.Tasks["ready"] != 1 || !f.LastClaimed.IsZero() {
		t.Errorf("%+v", f)
	}
	if f := got[1]; f.Name != "guetzli" || f.Server || f.LastClaimed.IsZero() || len(f.Tasks) != 0 || f.Tasks == nil {
		t.Errorf("%+v", f)
	}
	if f := got[2]; f.Name != "unattended" || f.Server || f.Attended || f.Tasks["ready"] != 1 || f.Tasks["scheduled"] != 1 || f.Oldest.IsZero() {
		t.Errorf("%+v", f)
	}
}

func TestAttendedByAWorker(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["f"]}`).is(200)
	if got := s.submit(siteKey, "f"); got.State != "ready" || got.WaitingFor != "" {
		t.Errorf("a worker has asked for it, but it waits for %q", got.WaitingFor)
	}
	id := s.submit(siteKey, "g").ID // that nobody does it is known now
	if got := s.task(readKey, id); got.WaitingFor != "workers" {
		t.Errorf("nobody has asked for it, but it waits for %q", got.WaitingFor)
	}
	s.do(shopKey, "POST", "/v1/worker/claim", `{"functions":["g"]}`).is(200)
	if got := s.task(readKey, id); got.State != "ready" || got.WaitingFor != "" {
		t.Errorf("a worker has just asked for it, but it is %s and waits for %q", got.State, got.WaitingFor)
	}
}
