package taskapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"safelight/internal/httpapi/taskapi"
)

func TestSubmit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	image := s.mint.New(time.Now()).String()
	body := `{"function":"guetzli","name":"one","args":{"a":[1,"<&>"]},"image":"` + image + `","input":"w=500","delay":"1h","priority":-7,"max_attempts":3,"timeout":"90s","lock":{"name":"gpu","limit":2}}`
	r := s.do(siteKey, "POST", "/v1/tasks", body).is(201)
	got := as[taskapi.Task](r)
	if r.header.Get("Location") != got.URL || got.URL != "/v1/tasks/"+got.ID {
		t.Errorf("location %q, url %q", r.header.Get("Location"), got.URL)
	}
	if ahead := time.Until(got.RunAt); ahead < 59*time.Minute || ahead > time.Hour {
		t.Errorf("it runs in %s", ahead)
	}
	if got.Function != "guetzli" || got.Name != "one" || string(got.Args) != `{"a":[1,"<&>"]}` || got.Image != image || got.Input != "w=500" || got.Priority != -7 ||
		got.MaxAttempts != 3 || got.Timeout != "1m30s" || *got.Lock != (taskapi.Lock{Name: "gpu", Limit: 2}) || got.State != "scheduled" || got.Created.IsZero() {
		t.Errorf("%s", r.body)
	}
	again := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", `{"function":"guetzli","name":"one"}`).is(201))
	if again.ID != got.ID || again.State != "ready" || string(again.Args) != "{}" || again.Lock != nil {
		t.Errorf("submitted again under its name: %+v", again)
	}
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	later := as[taskapi.Task](s.do(siteKey, "POST", "/v1/tasks", `{"function":"x","run_at":"`+at.Format(time.RFC3339)+`"}`).is(201))
	if !later.RunAt.Equal(at) || later.State != "scheduled" {
		t.Errorf("%+v", later)
	}
	bare := s.do(adminKey, "POST", "/v1/tasks", `{"function":"backfill"}`).is(201)
	for _, absent := range []string{"name", "image", "lock", "lease", "worker", "error", "result", "output", "started", "finished", "timeout", "waiting_for", "again"} {
		if strings.Contains(string(bare.body), `"`+absent+`"`) {
			t.Errorf("the bare task has %s: %s", absent, bare.body)
		}
	}
	for _, present := range []string{`"state":"ready"`, `"attempt":0`, `"progress":0`, `"priority":0`, `"args":{}`} {
		if !strings.Contains(string(bare.body), present) {
			t.Errorf("the bare task lacks %s: %s", present, bare.body)
		}
	}
}

func TestSubmitBatch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprintf(`{"function":"f","args":{"n":%d}}`, i)
	}
	got := as[taskapi.List](s.do(siteKey, "POST", "/v1/tasks", `{"tasks":[`+strings.Join(items, ",")+`]}`).is(201))
	if len(got.Tasks) != 1000 || string(got.Tasks[999].Args) != `{"n":999}` {
		t.Fatalf("%d tasks", len(got.Tasks))
	}
	s.do(siteKey, "POST", "/v1/tasks", `{"tasks":[`+strings.Join(items, ",")+`,{"function":"f"}]}`).fails(400, "limit-exceeded", "1 to 1000", "1001")
	before := len(as[taskapi.List](s.do(siteKey, "GET", "/v1/tasks?limit=1000&function=g", "").is(200)).Tasks)
	s.do(siteKey, "POST", "/v1/tasks", `{"tasks":[{"function":"g"},{"function":"g"},{"function":"G"}]}`).fails(400, "tasks[2]: function")
	if after := len(as[taskapi.List](s.do(siteKey, "GET", "/v1/tasks?limit=1000&function=g", "").is(200)).Tasks); after != before {
		t.Errorf("a refused batch left %d tasks", after-before)
	}
}

func TestSubmitRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	stranger := strings.Repeat("0", 26)
	tests := []struct {
		body   string
		status int
		parts  []string
	}{
		{``, 400, []string{"the body is empty"}},
		{`{`, 400, []string{"no JSON", "ends early"}},
		{`{"function":x}`, 400, []string{"no JSON", "byte 13"}},
		{`[]`, 400, []string{"expected an object but received array"}},
		{`"x"`, 400, []string{"expected an object but received string"}},
		{`{"function":"f"} x`, 400, []string{"goes on"}},
		{`{"function":"f","nam":"x"}`, 400, []string{`"nam" is no field`}},
		{`{"function":"f","lock":{"nme":"x"}}`, 400, []string{`"nme" is no field`}},
		{"{\"function\":\"f\",\"name\":\"\xff\"}", 400, []string{"UTF-8"}},
		{`{}`, 400, []string{"function: expected 1 to 64"}},
		{`{"function":7}`, 400, []string{"function: expected a string but received number"}},
		{`{"function":"F"}`, 400, []string{"function", `"F"`}},
		{`{"function":"backfill"}`, 403, []string{`"backfill"`, `"admin"`}},
		{`{"function":"f","priority":1.5}`, 400, []string{"priority: expected a whole number but received number 1.5"}},
		{`{"function":"f","priority":1001}`, 400, []string{"priority: 1001", "1000"}},
		{`{"function":"f","args":[]}`, 400, []string{"args: expected a JSON object"}},
		{`{"function":"f","args":"x"}`, 400, []string{"args"}},
		{`{"function":"f","args":{"a":"` + strings.Repeat("x", 64<<10) + `"}}`, 413, []string{"args: 65544 bytes", "65536"}},
		{`{"function":"f","image":"x"}`, 400, []string{`image: expected the id of an image but received "x"`}},
		{`{"function":"f","image":"` + stranger + `"}`, 400, []string{"image: there is no image with the id " + stranger}},
		{`{"function":"f","input":"w=5"}`, 400, []string{"input", "image"}},
		{`{"function":"f","image":"` + s.mint.New(time.Now()).String() + `","input":"bad"}`, 400, []string{"input: it is bad"}},
		{`{"function":"f","delay":"-1s"}`, 400, []string{"delay: -1s"}},
		{`{"function":"f","delay":"soon"}`, 400, []string{"delay", `"soon"`, "90s"}},
		{`{"function":"f","delay":90}`, 400, []string{"delay: expected a string but received number"}},
		{`{"function":"f","delay":"1s","run_at":"2030-01-01T00:00:00Z"}`, 400, []string{"delay", "run_at"}},
		{`{"function":"f","run_at":"tomorrow"}`, 400, []string{"run_at", `"tomorrow"`}},
		{`{"function":"f","run_at":"2130-01-01T00:00:00Z"}`, 400, []string{"run_at", "ten years"}},
		{`{"function":"f","timeout":"0s"}`, 400, []string{"timeout: 0s is not from"}},
		{`{"function":"f","timeout":"169h"}`, 400, []string{"timeout: 169h0m0s", "168h"}},
		{`{"function":"f","max_attempts":0}`, 400, []string{"max_attempts: 0 is not from 1 to 1000"}},
		{`{"function":"f","max_attempts":1001}`, 400, []string{"max_attempts: 1001"}},
		{`{"function":"f","lock":{"limit":1}}`, 400, []string{"lock: expected a name"}},
		{`{"function":"f","lock":{"name":"x","limit":-1}}`, 400, []string{"lock"}},
		{`{"function":"f","name":"` + strings.Repeat("x", 257) + `"}`, 400, []string{"name: 257 bytes", "256"}},
		{`{"function":"f","name":"a\u0007"}`, 400, []string{"name: control"}},
		{`{"tasks":[]}`, 400, []string{"1 to 1000", "received 0"}},
		{`{"tasks":{}}`, 400, []string{"tasks: expected a list but received object"}},
		{`{"tasks":[{"function":"f"}],"priority":1}`, 400, []string{"tasks: no other field"}},
		{`{"tasks":[{"function":"f"},{"function":"f","nam":1}]}`, 400, []string{`tasks[1]: "nam" is no field`}},
		{`{"tasks":[{"function":"f"},{"function":"f","priority":"1"}]}`, 400, []string{"tasks[1]: priority: expected a whole number but received string"}},
		{`{"tasks":[{"function":"f"},{"function":"f","delay":"x"}]}`, 400, []string{"tasks[1]: delay"}},
		{`{"tasks":[{"function":"backfill"}]}`, 403, []string{"tasks[0]: function"}},
		{`{"tasks":[7]}`, 400, []string{"tasks[0]: expected an object but received number"}},
	}
	for _, c := range tests {
		s.do(siteKey, "POST", "/v1/tasks", c.body).fails(c.status, c.parts...)
	}
	if n := len(as[taskapi.List](s.do(siteKey, "GET", "/v1/tasks", "").is(200)).Tasks); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
	s.do(adminKey, "POST", "/v1/tasks", `{"function":"backfill"}`).is(201)
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	long := `{"function":"f","x":"` + strings.Repeat("x", 8<<20) + `"}`
	s.do(siteKey, "POST", "/v1/tasks", long).fails(413, "limit-exceeded", "8388608")
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/tasks", struct{ *strings.Reader }{strings.NewReader(long)}) // no length: chunked
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+siteKey)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
}
