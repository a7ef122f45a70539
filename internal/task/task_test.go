package task_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

func TestStates(t *testing.T) {
	t.Parallel()
	for state, name := range map[task.State]string{
		task.Scheduled: "scheduled", task.Ready: "ready", task.Running: "running",
		task.Done: "done", task.Dead: "dead", task.Cancelled: "cancelled",
	} {
		got, err := task.ParseState(name)
		if err != nil || got != state || state.String() != name {
			t.Errorf("%q is read as %v, %v", name, got, err)
		}
		if text, err := json.Marshal(state); err != nil || string(text) != `"`+name+`"` {
			t.Errorf("%s as JSON is %s, %v", name, text, err)
		}
		live := state == task.Scheduled || state == task.Ready || state == task.Running
		if state.Live() != live || state.Finished() == live {
			t.Errorf("%s: live %v, finished %v", name, state.Live(), state.Finished())
		}
	}
	for _, name := range []string{"", "Ready", "unknown", "states"} {
		if _, err := task.ParseState(name); fault.Of(err) != fault.Invalid {
			t.Errorf("the state %q gave %v", name, err)
		}
	}
	if s := task.State(77).String(); s != "unknown" {
		t.Errorf("no state is called %q", s)
	}
}

func TestCheckFunction(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"a": true, "optimize": true, "a.b-c_9": true, "z" + strings.Repeat("9", task.MaxFunctionBytes-1): true,
		"": false, "9a": false, ".a": false, "-a": false, "_a": false, "A": false, "aB": false, "a b": false,
		"a/b": false, "ä": false, "aä": false, "a\x00": false, "a\n": false,
		"z" + strings.Repeat("9", task.MaxFunctionBytes): false,
	} {
		err := task.CheckFunction(name)
		if (err == nil) != ok || err != nil && (fault.Of(err) != fault.Invalid || !strings.HasPrefix(err.Error(), "function: ")) {
			t.Errorf("%q gave %v", name, err)
		}
	}
	if err := task.CheckFunction(strings.Repeat("\x00", 1<<20)); len(err.Error()) > 1000 {
		t.Errorf("the error of a long name has %d bytes", len(err.Error()))
	}
}

// TestCheckTakesTheLimits: what is at a limit passes; tasktest has what is
// beyond.
func TestCheckTakesTheLimits(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]task.New{
		"nothing":       {},
		"name":          {Name: strings.Repeat("x", task.MaxNameBytes)},
		"words":         {Name: "Ärger \u00a0 🙂"},
		"input":         {Input: strings.Repeat("x", task.MaxInputBytes)},
		"args":          {Args: fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", task.MaxArgsBytes-8))},
		"low priority":  {Priority: task.MinPriority},
		"high priority": {Priority: task.MaxPriority},
		"attempts":      {MaxAttempts: task.MaxAttemptsLimit},
		"long":          {Timeout: task.MaxTimeout},
		"short":         {Timeout: time.Millisecond},
		"far":           {RunAt: now.Add(task.MaxAhead)},
		"ever":          {RunAt: time.Unix(-1<<40, 0)},
		"lock":          {Lock: task.Lock{Name: strings.Repeat("x", task.MaxNameBytes), Limit: task.MaxLockLimit}},
	} {
		n.Function = "f"
		if err := n.Check(now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckCompletes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ n, expected task.New }{
		"nothing": {task.New{}, task.New{}},
		"null":    {task.New{Args: json.RawMessage("null")}, task.New{}},
		"past":    {task.New{RunAt: now.Add(-1)}, task.New{}},
		"lock":    {task.New{Lock: task.Lock{Name: "x"}}, task.New{Lock: task.Lock{Name: "x", Limit: 1}}},
		"micro": {
			task.New{RunAt: now.Add(1999 * time.Microsecond).In(time.FixedZone("x", 60)), Timeout: 1999 * time.Microsecond},
			task.New{RunAt: now.Add(time.Millisecond), Timeout: time.Millisecond},
		},
	} {
		c.n.Function, c.expected.Function, c.expected.Args = "f", "f", json.RawMessage("{}")
		if c.expected.RunAt.IsZero() {
			c.expected.RunAt = now
		}
		if err := c.n.Check(now); err != nil || !reflect.DeepEqual(c.n, c.expected) {
			t.Errorf("%s became\n%+v, %v; expected\n%+v", name, c.n, err, c.expected)
		}
	}
}

func TestFilterMatches(t *testing.T) {
	t.Parallel()
	k := task.Task{ID: asset.ID{1}, Owner: "o", Function: "f", Name: "n", Image: asset.ID{2}, State: task.Dead}
	for _, c := range []struct {
		filter task.Filter
		ok     bool
	}{
		{task.Filter{}, true},
		{task.Filter{Owner: "o", ID: k.ID, States: []task.State{task.Ready, task.Dead}, Function: "f", Name: "n", Image: k.Image}, true},
		{task.Filter{Owner: "p"}, false},
		{task.Filter{ID: asset.ID{2}}, false},
		{task.Filter{States: []task.State{task.Done}}, false},
		{task.Filter{Function: "g"}, false},
		{task.Filter{Name: "N"}, false},
		{task.Filter{Image: asset.ID{1}}, false},
	} {
		if c.filter.Matches(&k) != c.ok {
			t.Errorf("%+v matches: %v, expected %v", c.filter, !c.ok, c.ok)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		limit    int
		expected string
	}{
		{"", 5, ""},
		{"abcde", 5, "abcde"},
		{"abcdef", 5, "abcde"},
		{"ab\ncd\te", 9, "ab\ncd\te"},
		{"a\x00b\rc\x7fd\x1b[", 20, "a b c d ["},
		{"a\u0085b\u009bc", 20, "a b c"},
		{"é", 1, ""},
		{"aé", 2, "a"},
		{"aéé", 4, "aé"},
		{"🙂🙂", 7, "🙂"},
		{"a\xff", 4, "a\ufffd"},
		{"a\xff", 3, "a"},
		{"abc", 0, ""},
	} {
		if got := task.Cut(c.text, c.limit); got != c.expected {
			t.Errorf("%q cut to %d is %q, expected %q", c.text, c.limit, got, c.expected)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("plain", 3)
	f.Add("é🙂\xff\x00\u009b", 5)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(0, limit%10_000)
		got := task.Cut(text, limit)
		bad := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, bad) {
			t.Fatalf("%q cut to %d is %q", text, limit, got)
		}
		if again := task.Cut(got, limit); again != got {
			t.Fatalf("%q cut again is %q", got, again)
		}
		if whole := task.Cut(text, 3*len(text)); len(whole)-len(got) > max(0, len(whole)-limit)+3 || !strings.HasPrefix(whole, got) {
			t.Fatalf("%q cut to %d is %q: too short, or something else", text, limit, got)
		}
	})
}

// FuzzCheck: what passes is within the limits, and complete: checking it again
// changes nothing.
func FuzzCheck(f *testing.F) {
	f.Add("optimize", "name", []byte(`{"a":1}`), "w=1", 0, int64(0), 0, int64(0), "lock", 1)
	f.Add("F", "\x00", []byte(`null`), "\xff", 5000, int64(-1), -1, int64(1<<62), "", 1)
	f.Fuzz(func(t *testing.T, function, name string, args []byte, input string, priority int, ahead int64, attempts int, timeout int64, lock string, limit int) {
		n := task.New{
			Function: function, Name: name, Args: args, Input: input, Priority: priority, RunAt: now.Add(time.Duration(ahead)),
			MaxAttempts: attempts, Timeout: time.Duration(timeout), Lock: task.Lock{Name: lock, Limit: limit},
		}
		if err := n.Check(now); err != nil {
			if k := fault.Of(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%+v gave %v (%v)", n, err, k)
			}
			return
		}
		var object map[string]any
		if err := json.Unmarshal(n.Args, &object); err != nil || object == nil || !utf8.Valid(n.Args) || len(n.Args) > task.MaxArgsBytes {
			t.Fatalf("the arguments %q passed: %v", n.Args, err)
		}
		for _, text := range []string{n.Function, n.Name, n.Input, n.Lock.Name} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("the text %q passed", text)
			}
		}
		if n.RunAt.Before(now) || n.RunAt != n.RunAt.UTC().Truncate(time.Millisecond) || n.Timeout != n.Timeout.Truncate(time.Millisecond) {
			t.Fatalf("run at %v, timeout %s passed", n.RunAt, n.Timeout)
		}
		if (n.Timeout == 0) != (timeout == 0) || (n.Lock.Name == "") != (n.Lock.Limit == 0) {
			t.Fatalf("timeout %s, lock %+v passed", n.Timeout, n.Lock)
		}
		again := n
		if err := again.Check(now); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("checked again, %+v became %+v, %v", n, again, err)
		}
	})
}
