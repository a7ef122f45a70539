package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"safelight/internal/client"
	"safelight/internal/httpapi/taskapi"
)

// tasksCommand speaks to a running server.
type tasksCommand struct {
	List     tasksList     `cmd:"" help:"List tasks, newest first."`
	Show     tasksShow     `cmd:"" help:"Show all of a task, as JSON."`
	Retry    tasksRetry    `cmd:"" help:"Let dead or cancelled tasks start over; with --state scheduled, waiting ones run now."`
	Cancel   tasksCancel   `cmd:"" help:"Cancel tasks that wait or run."`
	Watch    tasksWatch    `cmd:"" help:"Follow a task until it is finished."`
	Submit   tasksSubmit   `cmd:"" help:"Submit a task."`
	Backfill tasksBackfill `cmd:"" help:"Make for all images what a setting makes of new ones: the renditions of a preset, or smaller originals."`
}

// Help gives examples.
func (tasksCommand) Help() string {
	return `Examples:

  safelight tasks list --state dead
  safelight tasks retry --state dead --function guetzli
  safelight tasks submit guetzli --args '{"quality": 84}' --wait
  safelight tasks backfill --preset thumb

The exit status is 0 when all went well; 1 when a task that was watched ended dead or cancelled; 2 when the flags make no sense, or the server could not be asked or said no.`
}

// connection is where the server is.
type connection struct {
	Server string `help:"URL of the server (default ${default})." env:"SAFELIGHT_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL"`
	Key    string `help:"Key to ask with; the variable does not show in lists of processes." env:"SAFELIGHT_KEY" placeholder:"TOKEN"`
	JSON   bool   `help:"Write JSON, one task a line." name:"json"`
}

// refused is the exit status when the server could not be asked or said no.
const refused = ended(2)

// ask runs a command with a client, until it is interrupted, and says in plain
// words what went wrong.
func (c connection) ask(command func(context.Context, *client.Client) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cl, err := client.New(c.Server, c.Key)
	if err == nil {
		err = command(ctx, cl)
	}
	var status ended
	switch {
	case err == nil || errors.As(err, &status) || errors.As(err, new(usage)):
		return err
	case ctx.Err() != nil:
		return ended(130) // as shells have it
	}
	fmt.Fprintln(os.Stderr, "safelight:", err)
	return refused
}

func writeLine(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// selection are the flags that select tasks.
type selection struct {
	State    string `help:"In these states, with commas between: scheduled, ready, running, done, dead, cancelled." placeholder:"STATES"`
	Function string `help:"Of this function." placeholder:"NAME"`
	Name     string `help:"With this name." placeholder:"NAME"`
	Image    string `help:"About the image with this id." placeholder:"ID"`
}

func (s selection) filter() taskapi.Filter {
	return taskapi.Filter{State: s.State, Function: s.Function, Name: s.Name, Image: s.Image}
}

type tasksList struct {
	connection `embed:""`
	selection  `embed:""`
	Limit      *int `help:"At most so many; 0 is no limit (default 50)." placeholder:"N"`
	All        bool `help:"Every task, without a limit; not beside --limit or flags that select."`
}

// defaultLimit is how many tasks are listed unless it is said otherwise.
const defaultLimit = 50

// limit is how many tasks to list; 0 is all.
func (c *tasksList) limit() (int, error) {
	switch {
	case c.All && (c.Limit != nil || c.filter() != taskapi.Filter{}):
		return 0, misuse("--all lists every task; leave it out beside other flags (--limit 0 lifts the limit)")
	case c.All:
		return 0, nil
	case c.Limit == nil:
		return defaultLimit, nil
	case *c.Limit < 0:
		return 0, misuse("--limit: expected 0 or more but received %d", *c.Limit)
	}
	return *c.Limit, nil
}

// Run lists tasks.
func (c *tasksList) Run() error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		limit, err := c.limit()
		if err != nil {
			return err
		}
		if c.JSON {
			return cl.List(ctx, c.filter(), limit, func(t taskapi.Task) error { return writeLine(t) })
		}
		ask := limit
		if limit > 0 {
			ask++ // which tells whether there are more
		}
		var tasks []taskapi.Task
		if err := cl.List(ctx, c.filter(), ask, func(t taskapi.Task) error { tasks = append(tasks, t); return nil }); err != nil {
			return err
		}
		more := limit > 0 && len(tasks) > limit
		if more {
			tasks = tasks[:limit]
		}
		width, _ := terminal(os.Stdout)
		if err := table(os.Stdout, tasks, time.Now(), width); err != nil || !more {
			return err
		}
		fmt.Fprintf(os.Stderr, "safelight: these are the newest %d, and there are more: use --limit N (0 is all)\n", limit)
		return nil
	})
}

type tasksShow struct {
	connection `embed:""`
	ID         string `arg:"" help:"Id of the task."`
}

// Run shows a task.
func (c *tasksShow) Run() error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		t, err := cl.Task(ctx, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeLine(t)
		}
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(t)
	})
}

// alteration are the arguments of retry and cancel.
type alteration struct {
	connection `embed:""`
	selection  `embed:""`
	All        bool     `help:"Every task; not beside flags that select."`
	IDs        []string `arg:"" optional:"" name:"id" help:"Ids of tasks; or select them by flags."`
}

type tasksRetry struct {
	alteration `embed:""`
}

// Help tells which tasks are meant.
func (tasksRetry) Help() string {
	return `Without --state the flags, and --all, select tasks that are dead or cancelled. Those that wait for their time run now with --state scheduled.`
}

// Run retries tasks.
func (c *tasksRetry) Run() error {
	return c.run(client.Retry, "retried", "no dead or cancelled ones match; waiting ones: add --state scheduled")
}

type tasksCancel struct {
	alteration `embed:""`
}

// Run cancels tasks.
func (c *tasksCancel) Run() error {
	return c.run(client.Cancel, "cancelled", "none that match wait or run")
}

// check refuses a selection that selects nothing, or twice.
func (c *alteration) check() error {
	flags := c.filter() != taskapi.Filter{}
	switch {
	case len(c.IDs) > 0 && (flags || c.All):
		return misuse("give either ids or flags that select tasks")
	case flags && c.All:
		return misuse("--all selects every task; leave it out beside other flags")
	case len(c.IDs) == 0 && !flags && !c.All:
		return misuse("which tasks? Give ids, or flags such as --state dead, or --all")
	}
	return nil
}

// run alters the tasks that were selected. Where a selection without states has
// found nothing, which says which states were looked at.
func (c *alteration) run(action client.Action, done, which string) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		if err := c.check(); err != nil {
			return err
		}
		if len(c.IDs) > 0 {
			return c.each(ctx, cl, action, done)
		}
		f := c.filter()
		matching, err := c.matching(ctx, cl, action)
		if err != nil {
			return err
		}
		f.All = c.All
		n, err := cl.AlterAll(ctx, action, f)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeLine(taskapi.Changed{Changed: n})
		}
		if n == 0 && c.State == "" {
			done += "; " + which
		}
		fmt.Printf("%d %s\n", n, done)
		if left := matching - n; left > 0 {
			fmt.Printf("%d could not be; safelight tasks %s ID tells why\n", left, action)
		}
		return nil
	})
}

// matching counts the tasks that are to be retried, for people; 0 where that is not
// asked for, or changes by itself.
func (c *alteration) matching(ctx context.Context, cl *client.Client, action client.Action) (n int, err error) {
	f := c.filter()
	if f.State == "" {
		f.State = "dead,cancelled"
	}
	if action != client.Retry || c.JSON || strings.Trim(strings.NewReplacer("dead", "", "cancelled", "").Replace(f.State), ", ") != "" {
		return 0, nil
	}
	err = cl.List(ctx, f, 0, func(taskapi.Task) error { n++; return nil })
	return n, err
}

// each alters tasks one after the other; one that can't be does not keep the
// others from it.
func (c *alteration) each(ctx context.Context, cl *client.Client, action client.Action, done string) error {
	var result error
	for _, id := range c.IDs {
		t, err := cl.Alter(ctx, action, id)
		var no *client.Error
		switch {
		case errors.As(err, &no):
			fmt.Fprintf(os.Stderr, "safelight: %s: %s\n", id, no)
			result = refused
		case err != nil:
			return err
		case c.JSON:
			if err := writeLine(t); err != nil {
				return err
			}
		default:
			fmt.Printf("%s %s\n", id, done)
		}
	}
	return result
}

type tasksSubmit struct {
	connection  `embed:""`
	Function    string        `arg:"" help:"Function to carry out."`
	Name        string        `help:"Where a live task of the function has it, that one is changed." placeholder:"NAME"`
	Args        string        `help:"Arguments, a JSON object." placeholder:"JSON"`
	Image       string        `help:"Id of the image that it is about." placeholder:"ID"`
	Input       string        `help:"Rendition of the image that a worker is given, as options." placeholder:"OPTIONS"`
	Delay       time.Duration `help:"Not before this has passed." xor:"when" placeholder:"90s"`
	RunAt       string        `help:"Not before this time (RFC 3339)." xor:"when" placeholder:"TIME"`
	Priority    int           `help:"Higher goes first, -1000 to 1000." placeholder:"N"`
	MaxAttempts int           `help:"Attempts before it is dead." placeholder:"N"`
	Timeout     time.Duration `help:"Of one attempt." placeholder:"90s"`
	Wait        bool          `help:"Follow it until it is finished."`
}

// submission is what the flags say.
func (c *tasksSubmit) submission() (taskapi.Submission, error) {
	s := taskapi.Submission{Function: c.Function, Name: c.Name, Image: c.Image, Input: c.Input, RunAt: c.RunAt, Priority: c.Priority}
	if c.Args != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.Args), &object); err != nil {
			return s, misuse("--args: expected a JSON object such as '{\"quality\": 84}' but received %s", plain(cut(c.Args, 40)))
		}
		s.Args = json.RawMessage(c.Args)
	}
	if c.Delay != 0 {
		s.Delay = c.Delay.String()
	}
	if c.Timeout != 0 {
		s.Timeout = c.Timeout.String()
	}
	if c.MaxAttempts != 0 {
		s.MaxAttempts = &c.MaxAttempts
	}
	return s, nil
}

// Run submits a task.
func (c *tasksSubmit) Run() error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		s, err := c.submission()
		if err != nil {
			return err
		}
		return c.submit(ctx, cl, s, c.Wait)
	})
}

func (c connection) submit(ctx context.Context, cl *client.Client, s taskapi.Submission, wait bool) error {
	t, err := cl.Submit(ctx, s)
	switch {
	case err != nil:
		return err
	case wait:
		return c.follow(ctx, cl, t.ID)
	case c.JSON:
		return writeLine(t)
	}
	fmt.Println(t.ID)
	if t.WaitingFor != "" {
		fmt.Fprintf(os.Stderr, "no worker has asked for %s within the last minute; it waits for one\n", t.Function)
	}
	return nil
}

type tasksBackfill struct {
	connection `embed:""`
	Preset     string `help:"Name of the preset." required:"" xor:"what" placeholder:"NAME"`
	Recompress bool   `help:"Keep the originals of all images in a smaller form, as pipeline.recompress says; instead of --preset." required:"" xor:"what"`
	NoWait     bool   `help:"Don't follow it until it is finished."`
}

// Run submits the task that finds what is missing.
func (c *tasksBackfill) Run() error {
	if c.Recompress {
		return c.ask(func(ctx context.Context, cl *client.Client) error {
			return c.submit(ctx, cl, taskapi.Submission{Function: "recompress", Name: "all"}, !c.NoWait)
		})
	}
	args, err := json.Marshal(map[string]string{"preset": c.Preset})
	if err != nil {
		return err
	}
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		return c.submit(ctx, cl, taskapi.Submission{Function: "backfill", Name: c.Preset, Args: args}, !c.NoWait)
	})
}

type tasksWatch struct {
	connection `embed:""`
	ID         string `arg:"" help:"Id of the task."`
}

// Run follows a task.
func (c *tasksWatch) Run() error {
	return c.ask(func(ctx context.Context, cl *client.Client) error { return c.follow(ctx, cl, strings.TrimSpace(c.ID)) })
}

// follow shows a task until it is finished. One that was not done is exit
// status 1.
func (c connection) follow(ctx context.Context, cl *client.Client, id string) error {
	var show func(taskapi.Task)
	width, isTerminal := terminal(os.Stdout)
	switch {
	case c.JSON:
		show = func(t taskapi.Task) { _ = writeLine(t) }
	case isTerminal:
		show = func(t taskapi.Task) { fmt.Print("\r\x1b[K", bar(t, width)) }
	default:
		last := ""
		show = func(t taskapi.Task) {
			if line := progress(t); line != last {
				fmt.Println(line)
				last = line
			}
		}
	}
	t, err := cl.Watch(ctx, id, show)
	if isTerminal && !c.JSON && t.ID != "" {
		fmt.Println()
	}
	if err != nil {
		return err
	}
	if line := outcome(t); line != "" && !c.JSON {
		fmt.Println(line)
	}
	if t.State != "done" {
		return ended(1)
	}
	return nil
}
