// Package blobcopy copies what a home store has into another store, blob by blob
// as it is stored, while servers go on using the one that is copied.
//
// Both are listed, and what the target has not, by name and size, is copied. So
// the same steps go on after an interruption and bring over what has come since.
// Nothing is deleted on either side.
package blobcopy

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/sealblob"
)

// Config says what is copied, and how.
type Config struct {
	From, To blob.Store // as they are stored: not sealblob's
	// Keys open sealed blobs, so that what is in them can be held against their
	// names. Those that none opens are copied all the same. nil is no key.
	Keys *sealblob.Keys
	// Prefixes are those of Prefixes to copy; nil is all.
	Prefixes []string
	// Parallel is how many blobs are copied at once, at least 1.
	Parallel int
	// Verify has everything at the target read once more, what was there already
	// too, and copied again where it is damaged.
	Verify bool
	// Patience is how long a store may be away before that ends the run.
	Patience time.Duration
	// Progress, if not nil, is told how far a step is, by many goroutines.
	Progress func(step string, done, total Amount)
	// Trouble, if not nil, is told of each blob that is not copied, by many
	// goroutines.
	Trouble func(Trouble)
}

// DefaultPatience outlasts a restart of what a store runs on.
const DefaultPatience = time.Minute

// Amount is a number of blobs, with their bytes as they are stored.
type Amount struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// Trouble is a blob that is not at the target as it should be.
type Trouble struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Report is what a run has done.
type Report struct {
	Found   Amount `json:"found"`   // at the source, before the first was copied
	Copied  Amount `json:"copied"`  // those that were damaged at the target among them
	Already Amount `json:"already"` // at the target, under the same name with the same size
	// Verified were read at the target, or have there the digest that they should: all
	// of them, or those whose names do not tell what their bytes must be.
	Verified Amount `json:"verified"`
	// Unproven could not be held against their names: sealed ones without their key,
	// and recompressed sources, which only a codec can tell. The copy's bytes are
	// those of the source.
	Unproven int64 `json:"unproven"`
	Repaired int64 `json:"repaired"` // were damaged at the target
	Vanished int64 `json:"vanished"` // from the source while it was copied
	Appeared int64 `json:"appeared"` // at the source meanwhile, and not copied
	Others   int64 `json:"others"`   // at the source, under names that are not ours
	Extra    int64 `json:"extra"`    // at the target, and not at the source

	Damaged []Trouble     `json:"damaged"` // at the source
	Failed  []Trouble     `json:"failed"`  // could not be read there, again and again
	Took    time.Duration `json:"-"`
}

// Whole tells whether all that the source has is at the target.
func (r Report) Whole() bool { return r.Appeared == 0 && len(r.Damaged) == 0 && len(r.Failed) == 0 }

// Run copies. The report also tells what was done until an error, after which
// another run goes on where this one has stopped.
func Run(ctx context.Context, cfg Config) (Report, error) {
	begun := time.Now()
	c := &copying{Config: cfg, report: Report{Damaged: []Trouble{}, Failed: []Trouble{}}} // empty lists in JSON
	err := c.run(ctx)
	c.report.Took = time.Since(begun)
	return c.report, err
}

type copying struct {
	Config
	moved atomic.Int64 // when a blob was last dealt with, in Unix nanoseconds

	target map[entry]int64 // sizes, as listed before

	mu     sync.Mutex
	report Report
	done   Amount
}

// sized is an entry with its bytes.
type sized struct {
	entry
	bytes int64
}

func (c *copying) run(ctx context.Context) error {
	if err := c.name(ctx); err != nil {
		return err
	}
	c.target = make(map[entry]int64)
	if _, err := c.list(ctx, c.To, "listing the target", func(s sized) { c.target[s.entry] = s.bytes }); err != nil {
		return err
	}
	var found []sized
	others, err := c.list(ctx, c.From, "listing the source", func(s sized) {
		found = append(found, s)
		c.report.Found.add(s.bytes)
	})
	if err != nil {
		return err
	}
	c.report.Others = others
	if err := c.copyAll(ctx, found); err != nil {
		return err
	}
	return c.compare(ctx, found)
}

// name has the target belong to the same installation as the source. One that
// belongs to another is fault.Conflict.
func (c *copying) name(ctx context.Context) error {
	if c.Prefixes != nil && !slices.Contains(c.Prefixes, blob.SourcePrefix) {
		return nil // only sources say so
	}
	from, err := blob.InstallationOf(ctx, c.From)
	if err != nil || from == "" {
		return err
	}
	to, err := blob.InstallationOf(ctx, c.To)
	switch {
	case err != nil || to == from:
		return err
	case to != "":
		return fault.New(fault.Conflict, "the target belongs to another installation: %.40q, and not %.40q as the source", to, from)
	}
	return blob.NameInstallation(ctx, c.To, from)
}

func (a *Amount) add(bytes int64) { a.Blobs, a.Bytes = a.Blobs+1, a.Bytes+bytes }

// list tells of all blobs of ours in a store, and counts the others.
func (c *copying) list(ctx context.Context, store blob.Store, step string, each func(sized)) (others int64, err error) {
	var done Amount
	for i, k := range kinds {
		if c.Prefixes != nil && !slices.Contains(c.Prefixes, k.prefix) {
			continue
		}
		err := store.List(ctx, k.prefix, func(info blob.Info) error {
			e, ok := parse(kind(i), info.Name)
			if !ok {
				others++
				return nil
			}
			each(sized{e, info.Bytes})
			done.add(info.Bytes)
			c.tell(step, done, Amount{})
			return nil
		})
		if err != nil {
			return others, err
		}
	}
	return others, nil
}

func (c *copying) tell(step string, done, total Amount) {
	if c.Progress != nil {
		c.Progress(step, done, total)
	}
}

// copyAll deals with each blob that was found.
func (c *copying) copyAll(ctx context.Context, found []sized) error {
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(c.Parallel)
	for _, s := range found {
		if running.Err() != nil {
			break
		}
		if bytes, ok := c.target[s.entry]; ok && bytes == s.bytes && !c.Verify {
			c.count(s, func(r *Report) { r.Already.add(s.bytes) })
			continue
		}
		group.Go(func() error { return c.one(running, s) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// count notes what became of a blob.
func (c *copying) count(s sized, note func(*Report)) {
	c.mu.Lock()
	note(&c.report)
	c.done.add(s.bytes)
	done, total := c.done, c.report.Found
	c.mu.Unlock()
	c.tell("copying", done, total)
}

// trouble notes a blob that is not copied.
func (c *copying) trouble(s sized, list func(*Report) *[]Trouble, err error) {
	t := Trouble{s.name(), err.Error()}
	c.count(s, func(r *Report) {
		to := list(r)
		*to = append(*to, t)
	})
	if c.Trouble != nil {
		c.Trouble(t)
	}
}

// compare looks what has come to the source while it was copied, and what the
// target has besides.
func (c *copying) compare(ctx context.Context, found []sized) error {
	known := make(map[entry]int64, len(found))
	for _, s := range found {
		known[s.entry] = s.bytes
		delete(c.target, s.entry)
	}
	var now []sized
	if _, err := c.list(ctx, c.From, "listing the source again", func(s sized) {
		if bytes, ok := known[s.entry]; !ok || bytes != s.bytes {
			now = append(now, s)
		}
	}); err != nil {
		return err
	}
	for _, s := range now {
		if bytes, ok := c.target[s.entry]; !ok || bytes != s.bytes {
			c.report.Appeared++
		}
		delete(c.target, s.entry)
	}
	c.report.Extra = int64(len(c.target))
	return nil
}

// passing tells whether the same may work later.
func passing(err error) bool {
	kind := fault.Of(err)
	return kind == fault.Unavailable || kind == fault.Timeout || kind == fault.Exhausted
}
