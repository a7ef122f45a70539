package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"safelight/internal/httpapi/taskapi"
)

func TestTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tasks := []taskapi.Task{
		{ID: "06g", Function: "guetzli", Name: "größe", State: "dead", Attempt: 3, MaxAttempts: 3, Created: now.Add(-90 * time.Minute), Error: "it\n\x1b[31mrains " + strings.Repeat("x", 80)},
		{ID: "07", Function: "f", State: "ready", WaitingFor: "workers", Created: now},
	}
	for width, want := range map[int]string{
		0: `ID   FUNCTION  NAME   STATE               ATTEMPT  AGE  ERROR
06g  guetzli   größe  dead                3/3      1h   it [31mrains ` + strings.Repeat("x", 80) + `
07   f                ready (no workers)  0        0s
`,
		90: `ID   FUNCTION  NAME   STATE               ATTEMPT  AGE  ERROR
06g  guetzli   größe  dead                3/3      1h   it [31mrains xxxxxxxxxxxxxxxxxxxx…
07   f                ready (no workers)  0        0s
`,
		10: `ID   FUNCTION  NAME   STATE               ATTEMPT  AGE  ERROR
06g  guetzli   größe  dead                3/3      1h   it [31mrains xxxxxx…
07   f                ready (no workers)  0        0s
`,
	} {
		var b strings.Builder
		if err := table(&b, tasks, now, width); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, b.String(), want)
		}
	}
	var b strings.Builder
	if err := table(&b, nil, now, 0); err != nil || b.String() != "ID  FUNCTION  NAME  STATE  ATTEMPT  AGE  ERROR\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestNameInTable(t *testing.T) {
	t.Parallel()
	const image = "06gzvwch3mkgvkdvyw4p1yjjcw"
	long := strings.Repeat("n", 100)
	tests := []struct {
		name, image, short, whole string
	}{
		{"", "", "", ""},
		{"cover", image, "cover", "cover"},
		{"", image, "image …yjjcw", "image " + image},
		{image + "/thumb/archive", image, "…yjjcw/thumb/archive", image + "/thumb/archive"},
		{image + "/a-preset-of-some-length/a-destination", "", "…yjjcw/a-preset-of-some-length/a-destination", image + "/a-preset-of-some-length/a-destination"},
		{image, "", image, image},
		{long, "", long[:59] + "…", long},
	}
	for _, c := range tests {
		k := taskapi.Task{Name: c.name, Image: c.image}
		if short, whole := name(k, true), name(k, false); short != c.short || whole != c.whole {
			t.Errorf("%q of %q: %q and %q; want %q and %q", c.name, c.image, short, whole, c.short, c.whole)
		}
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		task taskapi.Task
		want string
	}{
		{taskapi.Task{State: "scheduled", RunAt: now.Add(11 * time.Second)}, "scheduled (in 11s)"},
		{taskapi.Task{State: "scheduled", RunAt: now.Add(5 * 24 * time.Hour)}, "scheduled (in 5d)"},
		{taskapi.Task{State: "scheduled", RunAt: now}, "scheduled"},
		{taskapi.Task{State: "running", Progress: 40, Worker: "mill 3"}, "running 40 % (mill 3)"},
		{taskapi.Task{State: "running", Worker: strings.Repeat("w", 30)}, "running 0 % (" + strings.Repeat("w", 23) + "…)"},
		{taskapi.Task{State: "ready", WaitingFor: "workers"}, "ready (no workers)"},
		{taskapi.Task{State: "ready"}, "ready"},
		{taskapi.Task{State: "dead", WaitingFor: "workers"}, "dead"},
	}
	for _, c := range tests {
		if got := standing(c.task, now, true); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	tests := []struct{ function, result, want string }{
		{"f", "", ""},
		{"f", "null", ""},
		{"f", "{\n \"a\":  [1, \"x  y\u009by\"]\n}", `{"a":[1,"x  yy"]}`},
		{"f", `{"images":10,"submitted":4}`, `{"images":10,"submitted":4}`},
		{"backfill", `{"images":10,"submitted":4}`, "10 images looked at, 4 submitted"},
		{"backfill", `{"images":1,"submitted":0}`, "1 image looked at, 0 submitted"},
		{"backfill", `{"skipped":"why"}`, `{"skipped":"why"}`},
		{"backfill", `[]`, `[]`},
		{"recompress", `{"images":2,"submitted":1}`, "2 images looked at, 1 submitted"},
		{"recompress", `{"before":100,"bytes":80}`, `{"before":100,"bytes":80}`},
	}
	for _, c := range tests {
		if got := outcome(taskapi.Task{Function: c.function, Result: []byte(c.result)}); got != c.want {
			t.Errorf("%s %s: %q; want %q", c.function, c.result, got, c.want)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args string
		want int // -1 is a refusal
	}{
		{"", 50}, {"--limit 5", 5}, {"--limit 0 --state dead", 0}, {"--state dead", 50}, {"--all", 0},
		{"--limit=-1", -1}, {"--all --limit 5", -1}, {"--all --limit 0", -1}, {"--all --state dead", -1}, {"--all --image x", -1},
	}
	for _, c := range tests {
		got, err := parse(append([]string{"list"}, strings.Fields(c.args)...)...)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := got.Tasks.List.limit(); (err != nil) != (c.want < 0) || err == nil && n != c.want {
			t.Errorf("list %s: %d, %v; want %d", c.args, n, err, c.want)
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %s; want %s", d, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.Local)
	tests := []struct {
		task taskapi.Task
		want string
	}{
		{taskapi.Task{State: "running", Progress: 7, Message: "a\nb", Error: "old"}, "running   7 %  a b"},
		{taskapi.Task{State: "ready", WaitingFor: "workers"}, "ready, waiting for workers"},
		{taskapi.Task{State: "scheduled", RunAt: at, Error: "it rains"}, "scheduled for 2030-01-02 03:04:05: it rains"},
		{taskapi.Task{State: "done", Error: "old"}, "done"},
		{taskapi.Task{State: "dead", Error: "it rains", WaitingFor: "workers"}, "dead: it rains"},
	}
	for _, c := range tests {
		if got := progress(c.task); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
	running := taskapi.Task{State: "running", Progress: 50, Message: strings.Repeat("m", 100)}
	if got, want := bar(running, 60), "[###############---------------] running  50 %  mmmmmmmmmm…"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	for _, p := range []int{-1, 0, 100, 101} {
		running.Progress = p
		if got := bar(running, 0); strings.Index(got, "]") != barWidth+1 {
			t.Errorf("%d %%: %q", p, got)
		}
	}
}

// parse reads a command line without running it.
func parse(args ...string) (commands, error) {
	var c commands
	parser, err := newParser(&c)
	if err == nil {
		_, err = parser.Parse(append([]string{"tasks"}, args...))
	}
	return c, err
}

func TestParseTasks(t *testing.T) {
	t.Setenv("SAFELIGHT_SERVER", "https://pictures.example")
	t.Setenv("SAFELIGHT_KEY", "from-the-environment")
	tests := []struct {
		args string
		want string // what show says, or "error"
		show func(commands) any
	}{
		{"list", "{https://pictures.example from-the-environment false}", func(c commands) any { return c.Tasks.List.connection }},
		{"list --server http://a --key k --json", "{http://a k true}", func(c commands) any { return c.Tasks.List.connection }},
		{"list --state dead,done --function f --name n --image i --all", "{dead,done f n i} true", func(c commands) any { l := c.Tasks.List; return fmt.Sprint(l.selection, l.All) }},
		{"show x", "x", func(c commands) any { return c.Tasks.Show.ID }},
		{"show", "error", nil},
		{"retry a b", "[a b]", func(c commands) any { return c.Tasks.Retry.IDs }},
		{"cancel --state ready", "ready", func(c commands) any { return c.Tasks.Cancel.State }},
		{"watch", "error", nil},
		{"submit f --delay 90s --priority=-5 --wait", "1m30s -5 true", func(c commands) any { s := c.Tasks.Submit; return fmt.Sprint(s.Delay, s.Priority, s.Wait) }},
		{"submit f --delay 90s --run-at 2030-01-01T00:00:00Z", "error", nil},
		{"submit", "error", nil},
		{"backfill", "error", nil},
		{"backfill --preset p --no-wait", "p true", func(c commands) any { b := c.Tasks.Backfill; return fmt.Sprint(b.Preset, " ", b.NoWait) }},
		{"backfill --recompress", "true", func(c commands) any { return c.Tasks.Backfill.Recompress }},
		{"backfill --recompress --preset p", "error", nil},
		{"remove x", "error", nil},
	}
	for _, c := range tests {
		got, err := parse(strings.Fields(c.args)...)
		if c.show == nil || err != nil {
			if c.show != nil || err == nil {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if text := fmt.Sprint(c.show(got)); text != c.want {
			t.Errorf("%s: %s; want %s", c.args, text, c.want)
		}
	}
}

func TestSubmission(t *testing.T) {
	t.Parallel()
	s, err := (&tasksSubmit{Function: "f", Args: `{"a":1}`, Delay: time.Minute, Timeout: time.Hour, MaxAttempts: 3}).submission()
	if err != nil || string(s.Args) != `{"a":1}` || s.Delay != "1m0s" || s.Timeout != "1h0m0s" || *s.MaxAttempts != 3 || s.Lock != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := (&tasksSubmit{Function: "f"}).submission(); err != nil || s.Args != nil || s.Delay != "" || s.Timeout != "" || s.MaxAttempts != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"[]", "x", `{"a":`} {
		if _, err := (&tasksSubmit{Function: "f", Args: bad}).submission(); err == nil || !strings.Contains(err.Error(), "--args") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestWhichTasks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a  alteration
		ok bool
	}{
		{alteration{}, false},
		{alteration{IDs: []string{"a"}}, true},
		{alteration{All: true}, true},
		{alteration{selection: selection{State: "dead"}}, true},
		{alteration{selection: selection{State: "dead"}, All: true}, false},
		{alteration{IDs: []string{"a"}, All: true}, false},
		{alteration{IDs: []string{"a"}, selection: selection{Image: "i"}}, false},
	}
	for _, c := range tests {
		if err := c.a.check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.a, err)
		}
	}
}
