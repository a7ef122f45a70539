// Package task is the port for durable tasks: what a task is, how its state
// changes, and what a database must do to keep them. A task names a function,
// which a worker carries out: one in this process, or any program that speaks
// HTTP.
//
// The rules of the state machine are the methods in transition.go, and adapters
// call them inside their transactions, so that every database has the same.
package task

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

// State is where a task stands.
type State uint8

// The states. The numbers are stored; those up to Running are live: a name
// belongs to one live task only.
const (
	Scheduled State = iota // waits for its time
	Ready                  // waits for a worker
	Running                // a worker holds it under a lease
	Done
	Dead // out of attempts; kept until somebody retries or cancels it
	Cancelled
	states
)

var stateNames = [states]string{"scheduled", "ready", "running", "done", "dead", "cancelled"}

// String is the state's name, as it stands in JSON.
func (s State) String() string {
	if s >= states {
		return "unknown"
	}
	return stateNames[s]
}

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseState reads a name.
func ParseState(name string) (State, error) {
	for s, n := range stateNames {
		if n == name {
			return State(s), nil
		}
	}
	return 0, fault.New(fault.Invalid, "state: expected %s but received %q", strings.Join(stateNames[:], ", "), name)
}

// Live tells states from which a task may still run by itself.
func (s State) Live() bool { return s <= Running }

// Finished tells states in which nothing more happens by itself.
func (s State) Finished() bool { return s > Running }

// Priorities that the product uses; any from MinPriority to MaxPriority is
// allowed, and higher ones go first, always.
const (
	MinPriority = -1000
	MaxPriority = 1000

	Interactive = 100  // somebody waits
	Prompt      = 50   // presets of new images
	Normal      = 0    // the default
	Slow        = -50  // compression
	Idle        = -100 // upkeep
)

// Task is one task as it is stored. Times are UTC milliseconds; zero is never.
type Task struct {
	ID       asset.ID
	Owner    string
	Function string
	Name     string          // unique among an owner's live tasks of the function; "" is none
	Args     json.RawMessage // a JSON object
	Image    asset.ID        // the image it is about; zero is none
	Input    string          // which rendition of Image a worker is given, as options; "" is the original
	Priority int
	RunAt    time.Time
	Lock     Lock

	MaxAttempts int           // 0 is the function's
	Timeout     time.Duration // of one attempt; 0 is the function's

	State     State
	Attempt   int  // attempts that have begun since it was submitted or retried
	Postponed int  // times that a worker asked for later
	Again     *New // submitted while it ran: what it becomes afterwards

	Worker   string    // who holds it, or held it last
	Lease    string    // token of the running attempt; "" where none runs
	Until    time.Time // end of the lease
	Deadline time.Time // of the attempt, which no heartbeat moves

	Progress int    // 0 to 100
	Message  string // what the worker says it is doing
	Error    string // of the last attempt that failed
	Result   json.RawMessage
	Output   *Output

	Created, Started, Finished, Updated time.Time
}

// Lock lets at most Limit tasks of an owner with the same Name run at once,
// whatever their function and wherever they run. The zero value is none.
type Lock struct {
	Name  string `json:"name"`
	Limit int    `json:"limit"`
}

// Output describes bytes that a worker uploaded; they lie in the home store.
type Output struct {
	Digest asset.Digest `json:"sha256"`
	Bytes  int64        `json:"bytes"`
	Type   string       `json:"type"` // media type, as told by the bytes
}

// New is a task to submit. Zero values take the function's or nothing; times
// are cut to milliseconds.
type New struct {
	Owner       string          `json:"-"`
	Function    string          `json:"function"`
	Name        string          `json:"name,omitempty"`
	Args        json.RawMessage `json:"args,omitempty"`
	Image       asset.ID        `json:"image,omitzero"`
	Input       string          `json:"input,omitempty"`
	Priority    int             `json:"priority,omitempty"`
	RunAt       time.Time       `json:"run_at,omitzero"` // zero is at once
	MaxAttempts int             `json:"max_attempts,omitempty"`
	Timeout     time.Duration   `json:"timeout,omitempty"`
	Lock        Lock            `json:"lock,omitzero"`
}

// Limits on what is submitted and reported.
const (
	MaxFunctionBytes = 64
	MaxNameBytes     = 256
	MaxArgsBytes     = 64 << 10
	MaxResultBytes   = 64 << 10
	MaxErrorBytes    = 4 << 10 // longer ones are cut
	MaxMessageBytes  = 256     // longer ones are cut
	MaxInputBytes    = 4 << 10
	MaxAttemptsLimit = 1000
	MaxTimeout       = 7 * 24 * time.Hour
	MaxAhead         = 10 * 366 * 24 * time.Hour
	MaxLockLimit     = 1_000_000
	MinLease         = 100 * time.Millisecond
	MaxLease         = 10 * time.Minute
	MaxBatch         = 1000 // tasks or reports of one call
	MaxFunctions     = 100  // of one claim
)

// noArgs is what a task has that was submitted without arguments.
var noArgs = json.RawMessage("{}")

// Check refuses a task that can't be stored, naming the field and its limit,
// and fills in what is left out.
func (n *New) Check(now time.Time) error {
	if err := CheckFunction(n.Function); err != nil {
		return err
	}
	if err := checkText("name", n.Name, MaxNameBytes); err != nil {
		return err
	}
	if err := checkText("lock", n.Lock.Name, MaxNameBytes); err != nil {
		return err
	}
	if err := checkText("input", n.Input, MaxInputBytes); err != nil {
		return err
	}
	n.Args = bytes.TrimSpace(n.Args)
	if len(n.Args) == 0 || string(n.Args) == "null" {
		n.Args = noArgs
	}
	if err := CheckJSON("args", n.Args, MaxArgsBytes); err != nil {
		return err
	}
	if n.RunAt = n.RunAt.UTC().Truncate(time.Millisecond); n.RunAt.Before(now) {
		n.RunAt = now
	}
	if n.Lock.Name != "" && n.Lock.Limit == 0 {
		n.Lock.Limit = 1
	}
	switch {
	case n.Args[0] != '{':
		return fault.New(fault.Invalid, "args: expected a JSON object")
	case n.Priority < MinPriority || n.Priority > MaxPriority:
		return fault.New(fault.Invalid, "priority: %d is not from %d to %d", n.Priority, MinPriority, MaxPriority)
	case n.MaxAttempts < 0 || n.MaxAttempts > MaxAttemptsLimit:
		return fault.New(fault.Invalid, "max_attempts: %d is not from 1 to %d", n.MaxAttempts, MaxAttemptsLimit)
	case n.Timeout != 0 && (n.Timeout < time.Millisecond || n.Timeout > MaxTimeout):
		return fault.New(fault.Invalid, "timeout: %s is not from 1ms to %s", n.Timeout, MaxTimeout)
	case n.RunAt.Sub(now) > MaxAhead:
		return fault.New(fault.Invalid, "run_at: %s is more than ten years ahead", n.RunAt.UTC().Format(time.RFC3339))
	case n.Lock.Name == "" && n.Lock.Limit != 0, n.Lock.Limit < 0, n.Lock.Limit > MaxLockLimit:
		return fault.New(fault.Invalid, "lock: expected a name, and a limit from 1 to %d", MaxLockLimit)
	}
	n.Timeout = n.Timeout.Truncate(time.Millisecond)
	return nil
}

// CheckFunction refuses what is no name of a function: 1 to 64 lower-case
// letters, digits, dots, dashes and underscores, beginning with a letter.
func CheckFunction(name string) error {
	ok := name != "" && len(name) <= MaxFunctionBytes && name[0] >= 'a' && name[0] <= 'z'
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_')
	}
	if !ok {
		return fault.New(fault.Invalid, "function: expected 1 to %d lower-case letters, digits, dots, dashes or underscores, beginning with a letter, but received %.80q", MaxFunctionBytes, name)
	}
	return nil
}

func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return fault.Limit(fault.Invalid, field+" length", int64(limit), int64(len(text)), "%s: %d bytes are more than %d", field, len(text), limit)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fault.New(fault.Invalid, "%s: control characters and broken UTF-8 are not allowed", field)
	}
	return nil
}

// CheckJSON refuses text that is too long or no JSON value.
func CheckJSON(field string, text json.RawMessage, limit int) error {
	if len(text) > limit {
		return fault.Limit(fault.TooLarge, field+" length", int64(limit), int64(len(text)), "%s: %d bytes are more than %d", field, len(text), limit)
	}
	if !json.Valid(text) || !utf8.Valid(text) {
		return fault.New(fault.Invalid, "%s: this is no JSON", field)
	}
	return nil
}

// Cut shortens text to at most limit bytes of valid UTF-8 without control
// characters other than line breaks and tabs.
func Cut(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
