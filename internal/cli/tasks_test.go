package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

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
06g  guetzli   größe  dead                3/3      1h   it [31mrains ` + strings.Repeat("x", 46) + `…
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
		{taskapi.Task{State: "dead", Error: "it rains"}, "dead: it rains"},
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
	parser, err := kong.New(&c, kong.Name("safelight"))
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
		{"list", "{https://pictures.example from-the-environment false} 50", func(c commands) any { l := c.Tasks.List; return fmt.Sprint(l.connection, l.Limit) }},
		{"list --server http://a --key k --json", "{http://a k true}", func(c commands) any { return c.Tasks.List.connection }},
		{"list --state dead,done --function f --name n --image i --all", "{dead,done f n i true}", func(c commands) any { return c.Tasks.List.selection }},
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
		{alteration{selection: selection{All: true}}, true},
		{alteration{selection: selection{State: "dead"}}, true},
		{alteration{selection: selection{State: "dead", All: true}}, false},
		{alteration{IDs: []string{"a"}, selection: selection{All: true}}, false},
		{alteration{IDs: []string{"a"}, selection: selection{Image: "i"}}, false},
	}
	for _, c := range tests {
		if err := c.a.check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.a, err)
		}
	}
}
