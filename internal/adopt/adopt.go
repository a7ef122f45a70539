// Package adopt takes a tree of files or a bucket into a server, over its HTTP
// interface, and follows the changes of a tree.
//
// A file's key is its path below the root, after a prefix. What the server has
// already is not sent again, so a pass that was interrupted is simply begun
// again.
package adopt

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/text/unicode/norm"

	"safelight/internal/asset"
	"safelight/internal/client"
)

// Config says what is taken in, and how.
type Config struct {
	// Prefix stands before all keys: "" or a path without a slash at its end.
	Prefix string
	// Replace lets keys that have other bytes point at the files; otherwise
	// these are conflicts.
	Replace bool
	// Parallel is how many files are worked on at once, from 1.
	Parallel int
	// Memory is the file that remembers digests; "" is none.
	Memory string
	// Pause is how long to wait before another try when the server can't
	// answer; each is twice as long as the last. 0 is a second.
	Pause time.Duration
}

// State is what became of a file.
type State string

// The states.
const (
	Stored   State = "stored"   // under a key that was free
	Replaced State = "replaced" // in the place of another image
	Present  State = "present"  // the key had these bytes
	Skipped  State = "skipped"  // no picture, or none to follow
	Conflict State = "conflict" // the key has other bytes
	Failed   State = "failed"   // could not be read, or was refused
	Deleted  State = "deleted"  // the file is gone, and now the image too
)

// Result is what became of one file.
type Result struct {
	File   string `json:"file"`
	Key    string `json:"key,omitempty"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
	ID     string `json:"id,omitempty"` // of a new image
}

// Summary counts results.
type Summary struct {
	Files     int           `json:"files"`
	States    map[State]int `json:"states"`
	Bytes     int64         `json:"bytes"`      // of all files that were looked at
	SentBytes int64         `json:"sent_bytes"` // of those that were stored
}

// Add counts a result.
func (s *Summary) Add(r Result) {
	if s.States == nil {
		s.States = map[State]int{}
	}
	s.Files++
	s.States[r.State]++
	s.Bytes += r.Bytes
	if r.State == Stored || r.State == Replaced {
		s.SentBytes += r.Bytes
	}
}

// Failed is how many files are not in that should be.
func (s Summary) Failed() int { return s.States[Failed] + s.States[Conflict] }

// String counts for people.
func (s Summary) String() string {
	var parts []string
	for _, state := range []State{Stored, Replaced, Present, Deleted, Skipped, Conflict, Failed} {
		if n := s.States[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(parts) == 0 {
		return "no files"
	}
	return strings.Join(parts, ", ")
}

// Show is told what happens. Its methods are called one at a time.
type Show interface {
	// Listed says how many files and bytes there are to look at.
	Listed(files int, bytes int64)
	// Done is told of each file.
	Done(Result) error
}

// Adoption takes files from one place into one server.
type Adoption struct {
	config Config
	place  place
	client *client.Client
	show   Show
	memory *memory

	mu    sync.Mutex // guards show and what follows
	keys  map[string][32]byte
	owned map[string]string // SHA-256 of files that are in, while they are followed

	watching bool
	enduring atomic.Bool // the server is waited for, however long it is away
}

// New makes an adoption of a directory or a bucket. The caller closes it.
func New(ctx context.Context, config Config, root string, c *client.Client, show Show) (*Adoption, error) {
	if config.Parallel < 1 {
		config.Parallel = 1
	}
	if config.Pause == 0 {
		config.Pause = time.Second
	}
	if config.Prefix = strings.Trim(config.Prefix, "/"); config.Prefix != "" {
		if err := asset.CheckKey(config.Prefix); err != nil {
			return nil, fmt.Errorf("the prefix can't begin keys: %w", err)
		}
		config.Prefix += "/"
	}
	p, err := openPlace(ctx, root)
	if err != nil {
		return nil, err
	}
	a := &Adoption{config: config, place: p, client: c, show: show, owned: map[string]string{}}
	if a.memory, err = openMemory(config.Memory); err != nil {
		return nil, fmt.Errorf("the file of digests can't be used: %w", err)
	}
	return a, nil
}

// Close lets go of the place. What was remembered stays.
func (a *Adoption) Close() error {
	err := a.memory.close()
	if failed := a.place.close(); err == nil {
		err = failed
	}
	return err
}

// key is what a file gets. Names that are spelt in a decomposed form, as macOS
// does, become NFC: it is the same text. Anything else that keys can't have is
// refused.
func (a *Adoption) key(name string) (string, error) {
	key := a.config.Prefix + norm.NFC.String(name)
	return key, asset.CheckKey(key)
}

// Pass looks at every file once. The error is of what made it stop; what
// happened to single files is told to Show.
func (a *Adoption) Pass(ctx context.Context) error {
	_, err := a.pass(ctx, client.Refuse)
	return err
}

func (a *Adoption) pass(ctx context.Context, rule client.Rule) ([]entry, error) {
	entries, total, err := a.list(ctx)
	if err == nil {
		err = a.known(ctx)
	}
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.show.Listed(len(entries), total)
	a.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan entry)
	var working sync.WaitGroup
	for range a.config.Parallel {
		working.Go(func() {
			for e := range work {
				if err := a.take(ctx, e, rule); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, e := range entries {
		select {
		case work <- e:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	working.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return entries, a.memory.tidy(entries)
}

// list finds all files, and sees to it that no two of them get one key.
func (a *Adoption) list(ctx context.Context) (entries []entry, bytes int64, err error) {
	changed := false
	err = a.place.list(ctx, func(e entry) error {
		changed = changed || !norm.NFC.IsNormalString(e.name)
		entries = append(entries, e)
		bytes += e.bytes
		return nil
	})
	if !changed {
		return entries, bytes, err
	}
	first := map[string]string{}
	for i, e := range entries {
		key := norm.NFC.String(e.name)
		if other, ok := first[key]; ok && e.state == "" {
			entries[i].state, entries[i].reason = Failed, fmt.Sprintf("%q is spelt differently but would have the same key", other)
			continue
		}
		first[key] = e.name
	}
	return entries, bytes, err
}

// known asks the server what it has.
func (a *Adoption) known(ctx context.Context) error {
	keys := map[string][32]byte{}
	err := a.patiently(ctx, func() error {
		clear(keys)
		return a.client.Images(ctx, a.config.Prefix, func(img client.Image) error {
			var digest [32]byte
			if _, err := hex.Decode(digest[:], []byte(img.SHA256)); err == nil && img.Key != "" && len(img.SHA256) == 2*len(digest) {
				keys[img.Key] = digest
			}
			return nil
		})
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = keys
	return err
}

// tries is how often the server is asked before it counts as gone, and maxPause
// the longest time between two.
const (
	tries    = 6
	maxPause = 30 * time.Second
)

// patiently calls fn until it succeeds, or fails in a way that does not pass.
func (a *Adoption) patiently(ctx context.Context, fn func() error) error {
	pause := a.config.Pause
	for try := 1; ; try++ {
		err := fn()
		if err == nil || try >= tries && !a.enduring.Load() || !client.Passing(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, maxPause)
	}
}

// tell hands a result on.
func (a *Adoption) tell(r Result) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.show.Done(r)
}
