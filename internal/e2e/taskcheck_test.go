package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// crashTask is a task of TestTaskCrash as the server lists it at the end.
type crashTask struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Error  string    `json:"error"`
	Args   crashArgs `json:"args"`
	Result struct {
		Generation int `json:"generation"`
	} `json:"result"`
}

// leaseStory is what the workers' journals say of one lease.
type leaseStory struct {
	begun, sent, took, refused int
}

// taskStory is what they say of one task.
type taskStory struct {
	leases   map[string]*leaseStory
	attempts map[string]bool
	done     int // reports after which it was done
}

// check holds the server's list, the effects and the journals against each
// other and against what clients were told.
func (c *taskCrash) check(t *testing.T, s *server) {
	t.Helper()
	listed := c.list(t, s)
	told, refused := c.read(t)
	count := make(map[string]int)
	batches := make(map[string]int)
	for id := range c.accepted {
		if _, ok := listed[id]; !ok {
			t.Errorf("task %s was accepted, and is not listed", id)
		}
	}
	for id, k := range listed {
		count[k.State+" "+k.Args.Kind]++
		if k.Args.Batch != "" {
			batches[k.Args.Batch]++
		}
		story := told[id]
		if story == nil { // every answer to a claim of it was lost
			story = &taskStory{}
		}
		if err := c.fate(k, story); err != nil {
			t.Errorf("task %s, %+v: %v; its leases: %s", id, k, err, story)
		}
	}
	for _, k := range listed {
		if b := k.Args.Batch; b != "" && batches[b] != k.Args.Of {
			t.Errorf("of batch %s there are %d of %d tasks", b, batches[b], k.Args.Of)
		}
	}
	t.Logf("%d tasks: %v; %d reports were refused after the lease was lost", len(listed), count, refused)
	if len(listed) > 1000 && (refused == 0 || count["dead kill"] == 0 || count["dead always"] == 0 || count["done fail"] == 0) {
		t.Error("the load was no load: there were no refused reports, no failures, or no dead workers")
	}
}

// list is every task that the server has.
func (c *taskCrash) list(t *testing.T, s *server) map[string]crashTask {
	t.Helper()
	all := make(map[string]crashTask)
	for cursor := ""; ; {
		var page struct {
			Tasks      []crashTask `json:"tasks"`
			NextCursor string      `json:"next_cursor"`
		}
		s.get("/v1/tasks?limit=1000&function="+crashFunction+"&cursor="+cursor).json(t, &page)
		for _, k := range page.Tasks {
			all[k.ID] = k
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// read puts the workers' journals together.
func (c *taskCrash) read(t *testing.T) (told map[string]*taskStory, refused int) {
	t.Helper()
	told = make(map[string]*taskStory)
	journals, err := filepath.Glob(filepath.Join(c.dir, "journals", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range journals {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for scan := bufio.NewScanner(f); scan.Scan(); {
			word := strings.Fields(scan.Text())
			if word[0] == "odd" {
				t.Errorf("a worker was answered oddly: %s", scan.Text())
				continue
			}
			story := told[word[1]]
			if story == nil {
				story = &taskStory{make(map[string]*leaseStory), make(map[string]bool), 0}
				told[word[1]] = story
			}
			if story.add(word) {
				refused++
			}
		}
		_ = f.Close()
	}
	return told, refused
}

// add takes a line of a journal, and tells whether it is about a refused report.
func (s *taskStory) add(word []string) (refused bool) {
	l := s.leases[word[2]]
	if l == nil {
		l = &leaseStory{}
		s.leases[word[2]] = l
	}
	switch word[0] {
	case "begin":
		l.begun++
		s.attempts[word[3]] = true
	case "send":
		l.sent++
	case "took":
		l.took++
		if word[3] == "done" && word[4] == "done" {
			s.done++
		}
	case "refused":
		l.refused++
		return true
	}
	return false
}

// String lists the leases.
func (s *taskStory) String() string {
	var out strings.Builder
	for lease, l := range s.leases {
		fmt.Fprintf(&out, "%s %+v; ", lease, *l)
	}
	return out.String()
}

// fate tells what is wrong with how a task has ended.
func (c *taskCrash) fate(k crashTask, story *taskStory) error {
	unanswered := false
	for lease, l := range story.leases {
		if l.begun != 1 || l.took > 1 {
			return fmt.Errorf("the lease %s was handed out %d times, and %d of its reports were accepted", lease, l.begun, l.took)
		}
		unanswered = unanswered || l.sent > l.took+l.refused
	}
	if k.Name == "" && len(story.attempts) != len(story.leases) {
		return fmt.Errorf("%d attempts have %d different numbers", len(story.leases), len(story.attempts))
	}
	_, err := os.Stat(filepath.Join(c.dir, "effects", effectName(k.ID, k.Result.Generation)))
	switch {
	case k.State == "dead":
		if story.done > 0 {
			return fmt.Errorf("it is dead, and a worker was told that it is done")
		}
		if err == nil {
			return fmt.Errorf("it has an effect")
		}
		return wrongDeath(k)
	case k.State != "done":
		return fmt.Errorf("it has not ended")
	case k.Args.Kind == "always" || k.Args.Kind == "kill":
		return fmt.Errorf("it is done, which it can't be")
	case err != nil:
		return fmt.Errorf("its effect is missing: %w", err)
	case k.Result.Generation < c.accepted[k.ID].Generation:
		return fmt.Errorf("generation %d was accepted and never carried out", c.accepted[k.ID].Generation)
	case story.done > 1 || story.done == 0 && !unanswered:
		return fmt.Errorf("%d reports that it is done were accepted", story.done)
	}
	return nil
}

// wrongDeath tells why a dead task should not be dead, or not with its error.
func wrongDeath(k crashTask) error {
	lost := strings.Contains(k.Error, "was lost")
	switch {
	case k.Args.Kind == "kill" && lost:
		return nil
	case k.Args.Kind == "always" && (lost || strings.HasPrefix(k.Error, toldToFail)):
		return nil
	}
	return fmt.Errorf("it is dead for no good reason")
}
