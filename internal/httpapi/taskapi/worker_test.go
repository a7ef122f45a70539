package taskapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/httpapi"
	"safelight/internal/httpapi/taskapi"
	"safelight/internal/task"
	"safelight/internal/work"
)

func TestWorkerRound(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	image := s.mint.New(time.Now()).String()
	id := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", `{"function":"guetzli","args":{"q":84},"image":"`+image+`"}`).is(201)).ID
	r := s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["guetzli","guetzli","other"],"max":10,"lease":"1m","worker":"mill 3"}`).is(200)
	list := as[claimedList](r)
	if len(list.Tasks) != 1 {
		t.Fatalf("claimed %s", r.body)
	}
	c := list.Tasks[0]
	if c.ID != id || c.State != "running" || c.Worker != "mill 3" || c.Attempt != 1 || string(c.Args) != `{"q":84}` || c.Lease == "" || c.Deadline.Before(c.LeaseUntil) {
		t.Errorf("%s", r.body)
	}
	if left := time.Until(c.LeaseUntil); left < 50*time.Second || left > time.Minute {
		t.Errorf("the lease ends in %s", left)
	}
	for _, u := range []string{c.URLs.Heartbeat, c.URLs.Report, c.URLs.Input, c.URLs.Output} {
		if !strings.HasPrefix(u, s.URL+"/v1/worker/tasks/"+id+"/") || !strings.Contains(u, "?lease="+c.Lease) {
			t.Errorf("the URL %s", u)
		}
	}

	in := s.do(workerKey, "GET", c.URLs.Input, "").is(200)
	if string(in.body) != picture || in.header.Get("Content-Type") != "image/jpeg" || in.header.Get("Content-Length") != fmt.Sprint(len(picture)) || in.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the input is %q %v", in.body, in.header)
	}
	part, err := http.NewRequestWithContext(t.Context(), "GET", c.URLs.Input, nil)
	if err != nil {
		t.Fatal(err)
	}
	part.Header = http.Header{"Authorization": {"Bearer " + workerKey}, "Range": {"bytes=6-8"}, "If-Range": {in.header.Get("Etag")}}
	resp, err := s.Client().Do(part)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 206 || string(b) != "are" {
		t.Errorf("a part: %d %q", resp.StatusCode, b)
	}

	beat := as[taskapi.Reported](s.do(workerKey, "POST", c.URLs.Heartbeat, `{"progress":40,"message":"butteraugli"}`).is(200))
	if left := time.Until(beat.LeaseUntil); beat.State != "running" || left < 50*time.Second || left > time.Minute {
		t.Errorf("a heartbeat by the URL that came with a lease of 1m: %+v, %s", beat, left)
	}
	if got := s.task(readKey, id); got.Progress != 40 || got.Message != "butteraugli" || got.Worker != "mill 3" {
		t.Errorf("%+v", got)
	}
	beat = as[taskapi.Reported](s.do(workerKey, "POST", c.URLs.Heartbeat, `{"extend":"5m"}`).is(200))
	if left := time.Until(beat.LeaseUntil); left < 4*time.Minute {
		t.Errorf("extended by 5m it ends in %s", left)
	}
	kept := as[taskapi.Reported](s.do(workerKey, "POST", c.URLs.Heartbeat, `{"extend":"0s","progress":50}`).is(200))
	if !kept.LeaseUntil.Equal(beat.LeaseUntil) {
		t.Errorf("0s moved the lease from %s to %s", beat.LeaseUntil, kept.LeaseUntil)
	}

	s.do(readKey, "GET", "/v1/tasks/"+id+"/output", "").fails(404, "uploaded")
	out := as[taskapi.Output](s.do(workerKey, "PUT", c.URLs.Output, "<script>made</script>").is(200))
	if out.Bytes != 21 || out.Type != "image/png" || len(out.SHA256) != 64 || out.URL != "/v1/tasks/"+id+"/output" {
		t.Errorf("%+v", out)
	}
	done := as[taskapi.Reported](s.do(workerKey, "POST", c.URLs.Report, `{"outcome":"done","result":{"saved":7}}`).is(200))
	if done.State != "done" || !done.LeaseUntil.IsZero() {
		t.Errorf("%+v", done)
	}
	got := s.task(readKey, id)
	if got.State != "done" || got.Progress != 100 || string(got.Result) != `{"saved":7}` || *got.Output != out || got.Finished.IsZero() {
		t.Errorf("%+v", got)
	}
	for _, answer := range []*reply{s.do(readKey, "GET", "/v1/tasks/"+id, ""), s.do(readKey, "GET", "/v1/tasks", "")} {
		if strings.Contains(string(answer.body), c.Lease) {
			t.Errorf("the lease is shown: %s", answer.body)
		}
	}
	file := s.do(readKey, "GET", out.URL, "").is(200)
	if string(file.body) != "<script>made</script>" || file.header.Get("Content-Type") != "image/png" || file.header.Get("X-Content-Type-Options") != "nosniff" ||
		file.header.Get("Content-Security-Policy") != "default-src 'none'; sandbox" || file.header.Get("Etag") == "" {
		t.Errorf("%q %v", file.body, file.header)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) { s.config.PublicURL = "https://pictures.example/base/" })
	id := s.submit(siteKey, "f").ID
	if got := s.task(readKey, id); got.URL != "https://pictures.example/base/v1/tasks/"+id {
		t.Errorf("the URL is %s", got.URL)
	}
	c := s.claim(workerKey, "f")
	if want := "https://pictures.example/base/v1/worker/tasks/" + id + "/heartbeat?lease=" + c.Lease; c.URLs.Heartbeat != want || c.URLs.Input != "" || c.Worker != "worker" {
		t.Errorf("%+v, worker %q; want %s", c.URLs, c.Worker, want)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	tests := []struct {
		body, state, reason string
	}{
		{`{"outcome":"done"}`, "done", ""},
		{`{"outcome":"done","result":null}`, "done", ""},
		{`{"outcome":"done","result":[1]}`, "done", ""},
		{`{"outcome":"failed","error":"it rains"}`, "scheduled", "it rains"},
		{`{"outcome":"failed"}`, "scheduled", "the worker gave no reason"},
		{`{"outcome":"failed","error":"never","final":true,"result":7}`, "dead", "never"},
		{`{"outcome":"failed","error":"` + strings.Repeat("ä", 3000) + `"}`, "scheduled", strings.Repeat("ä", 2048)},
		{`{"outcome":"later","delay":"1h","error":"busy"}`, "scheduled", "busy"},
		{`{"outcome":"later"}`, "scheduled", ""},
		{`{"outcome":"later","delay":"0s"}`, "ready", ""},
	}
	for i, c := range tests {
		function := fmt.Sprintf("f%d", i)
		id := s.submit(siteKey, function).ID
		held := s.claim(workerKey, function)
		if got := as[taskapi.Reported](s.do(workerKey, "POST", held.URLs.Report, c.body).is(200)); got.State != c.state {
			t.Errorf("%.100s: %+v", c.body, got)
		}
		if got := s.task(readKey, id); got.State != c.state || got.Error != c.reason {
			t.Errorf("%.100s: %s %.100q", c.body, got.State, got.Error)
		}
	}
}

func TestReportRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.submit(siteKey, "f")
	c := s.claim(workerKey, "f")
	at := "/v1/worker/tasks/" + c.ID
	tests := []struct {
		path, body string
		status     int
		parts      []string
	}{
		{c.URLs.Report, ``, 400, []string{"outcome"}},
		{c.URLs.Report, `{"outcome":"don"}`, 400, []string{"outcome", `"don"`}},
		{c.URLs.Report, `{"outcome":"beat"}`, 400, []string{"outcome"}},
		{c.URLs.Report, `{"outcome":"done","error":"x"}`, 400, []string{"error", `"done"`}},
		{c.URLs.Report, `{"outcome":"done","final":true}`, 400, []string{"final"}},
		{c.URLs.Report, `{"outcome":"failed","delay":"1s"}`, 400, []string{"delay"}},
		{c.URLs.Report, `{"outcome":"later","result":1}`, 400, []string{"result"}},
		{c.URLs.Report, `{"outcome":"later","delay":"-1s"}`, 400, []string{"delay: -1s"}},
		{c.URLs.Report, `{"outcome":"done","progress":1}`, 400, []string{`"progress" is no field`}},
		{c.URLs.Report, `{"outcome":"done","result":"` + strings.Repeat("x", 64<<10) + `"}`, 413, []string{"result: 65538", "65536"}},
		{c.URLs.Heartbeat, `{"progress":101}`, 400, []string{"progress: 101 is not from 0 to 100"}},
		{c.URLs.Heartbeat, `{"progress":-1}`, 400, []string{"progress: -1"}},
		{c.URLs.Heartbeat, `{"message":"x"}`, 400, []string{"message", "progress"}},
		{c.URLs.Heartbeat, `{"extend":"11m"}`, 400, []string{"extend: 11m0s", "10m0s"}},
		{c.URLs.Heartbeat, `{"extend":"1ms"}`, 400, []string{"extend: 1ms"}},
		{c.URLs.Heartbeat, `{"extend":30}`, 400, []string{"extend: expected a string but received number"}},
		{at + "/heartbeat", ``, 400, []string{"lease", "missing"}},
		{at + "/report", `{"outcome":"done"}`, 400, []string{"lease", "missing"}},
		{"/v1/worker/tasks/" + strings.Repeat("0", 26) + "/report?lease=x", `{"outcome":"done"}`, 404, []string{"no task"}},
		{"/v1/worker/tasks/" + s.mint.New(time.Now()).String() + "/report?lease=x", `{"outcome":"done"}`, 404, []string{"no task"}},
	}
	for _, r := range tests {
		s.do(workerKey, "POST", r.path, r.body).fails(r.status, r.parts...)
	}
	s.do(workerKey, "GET", at+"/input", "").fails(400, "lease")
	s.do(workerKey, "PUT", at+"/output", "x").fails(400, "lease")
	s.do(workerKey, "GET", at+"/input?lease="+c.Lease, "").fails(404, "no image")
	if got := s.task(readKey, c.ID); got.State != "running" || got.Progress != 0 {
		t.Errorf("a refused report changed it: %+v", got)
	}
}

func TestFencing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.files.taken = func(io.Reader) { t.Error("bytes were taken under an old lease") }
	image := s.mint.New(time.Now()).String()
	id := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", `{"function":"f","image":"`+image+`"}`).is(201)).ID
	old := s.claim(workerKey, "f")
	s.do(workerKey, "POST", old.URLs.Report, `{"outcome":"later","delay":"0s"}`).is(200)
	now := s.claim(workerKey, "f")
	if now.ID != id || now.Lease == old.Lease {
		t.Fatalf("%+v", now)
	}
	lost := func(c taskapi.Claimed) {
		t.Helper()
		s.do(workerKey, "POST", c.URLs.Heartbeat, `{"progress":1}`).fails(409, "urn:safelight:problem:lease-lost")
		s.do(workerKey, "POST", c.URLs.Report, `{"outcome":"done"}`).fails(409, "urn:safelight:problem:lease-lost")
		s.do(workerKey, "GET", c.URLs.Input, "").fails(409, "urn:safelight:problem:lease-lost")
		s.do(workerKey, "PUT", c.URLs.Output, "x").fails(409, "urn:safelight:problem:lease-lost")
	}
	lost(old)
	if got := s.task(readKey, id); got.State != "running" || got.Progress != 0 {
		t.Errorf("an old lease changed it: %+v", got)
	}
	s.do(siteKey, "POST", "/v1/tasks/"+id+"/cancel", "").is(200)
	lost(now)
}

// A lease that is lost while the output is on its way must not keep it.
func TestLeaseLostDuringUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := s.submit(siteKey, "f").ID
	c := s.claim(workerKey, "f")
	s.files.taken = func(io.Reader) {
		if _, err := s.queue.Alter(t.Context(), task.Cancel, task.Filter{Function: "f"}); err != nil {
			t.Error(err)
		}
	}
	s.do(workerKey, "PUT", c.URLs.Output, "x").fails(409, "lease-lost")
	if got := s.task(readKey, id); got.Output != nil {
		t.Errorf("%+v", got.Output)
	}
}

func TestClaimRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	many := `"f"`
	for i := range 100 {
		many += fmt.Sprintf(`,"f%d"`, i)
	}
	tests := []struct {
		body  string
		parts []string
	}{
		{``, []string{"empty"}},
		{`{}`, []string{"functions: expected 1 to 100", "received 0"}},
		{`{"functions":"f"}`, []string{"functions: expected a list"}},
		{`{"functions":[` + many + `]}`, []string{"functions", "101"}},
		{`{"functions":["F"]}`, []string{"function", `"F"`}},
		{`{"functions":["f"],"max":0}`, []string{"max: 0 is not from 1 to 1000"}},
		{`{"functions":["f"],"max":1001}`, []string{"max: 1001"}},
		{`{"functions":["f"],"wait":"61s"}`, []string{"wait: 1m1s", "1m0s"}},
		{`{"functions":["f"],"wait":"-1s"}`, []string{"wait: -1s"}},
		{`{"functions":["f"],"wait":20}`, []string{"wait: expected a string"}},
		{`{"functions":["f"],"lease":"0s"}`, []string{"lease: 0s"}},
		{`{"functions":["f"],"lease":"11m"}`, []string{"lease: 11m0s"}},
		{`{"functions":["f"],"worker":"node:a"}`, []string{"worker", "node:"}},
		{`{"functions":["f"],"worker":"` + strings.Repeat("x", 257) + `"}`, []string{"worker: 257"}},
		{`{"functions":["f"],"wiat":"1s"}`, []string{`"wiat"`}},
	}
	for _, c := range tests {
		s.do(workerKey, "POST", "/v1/worker/claim", c.body).fails(400, c.parts...)
	}
}

func TestClaimWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	answers := make(chan *reply)
	go func() {
		answers <- s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["f"],"wait":"1m"}`)
	}()
	<-s.waiting
	id := s.submit(siteKey, "f").ID
	if got := as[claimedList]((<-answers).is(200)); len(got.Tasks) != 1 || got.Tasks[0].ID != id {
		t.Errorf("%+v", got)
	}
}

// A wait outlives the time that a body and an answer may take.
func TestClaimOutwaitsDeadlines(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) {
		s.config.BodyIdle = 50 * time.Millisecond
		s.Server.Config.WriteTimeout = 50 * time.Millisecond
	})
	if got := as[claimedList](s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["f"],"wait":"300ms"}`).is(200)); got.Tasks == nil || len(got.Tasks) != 0 {
		t.Errorf("%+v", got)
	}
	if err := <-s.engine.left; err != nil {
		t.Errorf("the claim ended with %v", err)
	}
}

func TestClientGoneWhileItWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan *reply)
	go func() {
		gone <- s.doContext(ctx, workerKey, "POST", "/v1/worker/claim", `{"functions":["f"],"wait":"1m"}`)
	}()
	<-s.waiting
	cancel()
	if r := <-gone; r.status != 0 {
		t.Errorf("it got %d", r.status)
	}
	if err := <-s.engine.left; err == nil {
		t.Error("the claim went on without a client")
	}
	id := s.submit(siteKey, "f").ID
	if got := s.task(readKey, id); got.State != "ready" || got.Attempt != 0 {
		t.Errorf("a client that is gone has it: %+v", got)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 4 {
		s.submit(siteKey, "f")
	}
	held := as[claimedList](s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["f"],"max":4}`).is(200)).Tasks
	line := func(i int, rest string) string {
		return `{"id":"` + held[i].ID + `","lease":"` + held[i].Lease + `",` + rest + `}`
	}
	items := []struct{ text, state, problem, detail string }{
		{line(0, `"outcome":"done","result":{"a":1}`), "done", "", ""},
		{line(1, `"outcome":"beat","progress":3,"message":"m","extend":"2m"`), "running", "", ""},
		{line(1, `"outcome":"beat","progress":300`), "", "invalid", "progress: 300"},
		{line(2, `"outcome":"failed","error":"e"`), "scheduled", "", ""},
		{line(2, `"outcome":"done"`), "", "lease-lost", ""},
		{line(3, `"outcome":"later","delay":"1m"`), "scheduled", "", ""},
		{line(3, `"outcome":"what"`), "", "invalid", "outcome"},
		{`{"id":"` + held[0].ID + `","lease":"old","outcome":"done"}`, "", "lease-lost", ""},
		{`{"id":"` + held[0].ID + `","outcome":"done"}`, "", "invalid", "lease"},
		{`{"id":"x","lease":"old","outcome":"done"}`, "", "not-found", "no task"},
		{`{"id":"` + s.mint.New(time.Now()).String() + `","lease":"old","outcome":"done"}`, "", "not-found", "no task"},
	}
	var texts []string
	for _, i := range items {
		texts = append(texts, i.text)
	}
	got := as[struct {
		Results []struct {
			ID, State  string
			LeaseUntil time.Time        `json:"lease_until"`
			Error      *httpapi.Problem `json:"error"`
		}
	}](s.do(workerKey, "POST", "/v1/worker/reports", `{"reports":[`+strings.Join(texts, ",")+`]}`).is(200)).Results
	if len(got) != len(items) {
		t.Fatalf("%d results", len(got))
	}
	for i, want := range items {
		r := got[i]
		switch {
		case !strings.Contains(want.text, `"id":"`+r.ID+`"`):
			t.Errorf("%s: the id is %q", want.text, r.ID)
		case want.problem == "" && (r.Error != nil || r.State != want.state || (r.State == "running") == r.LeaseUntil.IsZero()):
			t.Errorf("%s: %+v %+v", want.text, r, r.Error)
		case want.problem != "" && (r.Error == nil || r.State != "" || r.Error.Type != "urn:safelight:problem:"+want.problem || !strings.Contains(r.Error.Detail, want.detail)):
			t.Errorf("%s: %+v %+v", want.text, r, r.Error)
		}
	}
	long := strings.Repeat(`{"id":"x"},`, 1000) + `{"id":"x"}`
	for body, part := range map[string]string{
		`{}`: "received 0", `{"reports":[]}`: "received 0", `{"reports":[` + long + `]}`: "received 1001",
		`{"reports":[{},{"ID7":1}]}`: `reports[1]: "ID7"`, `{"reports":[{"final":"yes"}]}`: "reports[0]: final: expected true or false",
		`x`: "no JSON",
	} {
		s.do(workerKey, "POST", "/v1/worker/reports", body).fails(400, part)
	}
	all := as[struct{ Results []taskapi.Reported }](s.do(workerKey, "POST", "/v1/worker/reports", `{"reports":[{"id":"x"}]}`).is(200))
	if len(all.Results) != 1 || all.Results[0].Error == nil {
		t.Errorf("nothing but refusals: %+v", all)
	}
}

func TestResultThatIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) {
		functions := map[string]work.Function{"optimize": {
			Policy: task.Policy{Worker: true},
			Finish: func(context.Context, task.Task, json.RawMessage) (work.Outcome, error) {
				return work.Outcome{}, fault.New(fault.Invalid, "output: upload it first")
			},
		}}
		s.engine.Engine = work.New(work.DefaultConfig(), "a", s.queue, s.signals, work.DefaultConfig().Policies(functions), functions, silent{}, slog.New(slog.DiscardHandler))
	})
	const refused = "urn:safelight:problem:result-refused"
	s.submit(adminKey, "optimize")
	c := s.claim(workerKey, "optimize")
	s.do(workerKey, "POST", c.URLs.Report, `{"outcome":"done"}`).fails(422, refused, "output: upload it first", "will be tried again")
	if got := s.task(readKey, c.ID); got.State != "scheduled" || got.Error != "output: upload it first" {
		t.Errorf("%+v", got)
	}

	s.submit(adminKey, "optimize")
	c = s.claim(workerKey, "optimize")
	batch := as[struct {
		Results []struct {
			State string
			Error httpapi.Problem
		}
	}](s.do(workerKey, "POST", "/v1/worker/reports", `{"reports":[{"id":"`+c.ID+`","lease":"`+c.Lease+`","outcome":"done"},{"id":"`+c.ID+`","lease":"other","outcome":"beat"}]}`).is(200)).Results
	if r := batch[0]; r.State != "scheduled" || r.Error.Type != refused || r.Error.Status != 422 {
		t.Errorf("%+v", r)
	}
	if r := batch[1]; r.State != "" || r.Error.Status != 409 {
		t.Errorf("%+v", r)
	}
}

func TestOwnerIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.submit(shopKey, "f")
	if c := s.claim(roamerKey, "f"); c.Owner != "shop" {
		t.Errorf("a worker for everybody is told the owner %q", c.Owner)
	}
}

func TestInputWithoutDigest(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) { s.files.undigested = true })
	s.do(siteKey, "POST", "/v1/tasks", `{"function":"f","image":"`+s.mint.New(time.Now()).String()+`"}`).is(201)
	in := s.do(workerKey, "GET", s.claim(workerKey, "f").URLs.Input, "").is(200)
	if tag := in.header.Values("Etag"); len(tag) > 0 {
		t.Errorf("the tag is %s, though nothing is known of the bytes", tag)
	}
}
