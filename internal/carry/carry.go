// Package carry brings everything that a catalog and its tasks consist of from
// one database into another, row by row as it is.
//
// Both are read in the order of their primary keys, and what differs is
// removed, changed or added. So the same steps copy into an empty database, go
// on after an interruption, bring over what has changed since, and prove at the
// end that nothing differs.
package carry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"slices"
	"time"

	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// Source is a database as it was at one moment. Rows are in the order of their
// primary keys: integers by value, texts and bytes by their bytes.
type Source interface {
	// Identity tells installations apart; copies of one have the same.
	Identity(ctx context.Context) (string, error)
	Count(ctx context.Context, t stored.Table) (int64, error)
	Rows(ctx context.Context, t stored.Table) iter.Seq2[stored.Row, error]
	// Stale tells whether the database was changed since that moment.
	Stale(ctx context.Context) (bool, error)
}

// Target is a database that is to become the same. Each call that changes it is
// carried out as a whole or not at all.
type Target interface {
	// Begin makes sure that nobody else uses or fills it, and that it is empty
	// or was filled from the same source; otherwise it is fault.Conflict. From
	// then on servers refuse it.
	Begin(ctx context.Context, identity string) error
	Empty(ctx context.Context, t stored.Table) (bool, error)
	Rows(ctx context.Context, t stored.Table) iter.Seq2[stored.Row, error]
	// Remove needs the columns of the primary key only.
	Remove(ctx context.Context, t stored.Table, rows []stored.Row) error
	Add(ctx context.Context, t stored.Table, rows []stored.Row) error
	Change(ctx context.Context, t stored.Table, rows []stored.Row) error
	// Finish lets servers use it.
	Finish(ctx context.Context) error
}

// Progress is told how many rows of all were dealt with, in steps.
type Progress func(step string, done, total int64)

// Report is what a run has done.
type Report struct {
	Tables  []Table       `json:"tables"`
	Altered int64         `json:"altered"` // texts that the target can't hold as they were; see sound
	Stale   bool          `json:"stale"`   // the source was changed meanwhile: the run is not finished
	Took    time.Duration `json:"-"`
	// Again is how long another run takes, of which nothing but the
	// differences is new.
	Again time.Duration `json:"-"`
}

// Table is a report's part.
type Table struct {
	Name    string `json:"table"`
	Rows    int64  `json:"rows"`
	Added   int64  `json:"added"`
	Removed int64  `json:"removed"`
	Changed int64  `json:"changed"`
	SHA256  string `json:"sha256"` // over the rows, the same on both sides
}

// Sum is what all tables have together.
func (r Report) Sum() Table {
	sum := Table{Name: "all"}
	for _, t := range r.Tables {
		sum.Rows, sum.Added, sum.Removed, sum.Changed = sum.Rows+t.Rows, sum.Added+t.Added, sum.Removed+t.Removed, sum.Changed+t.Changed
	}
	return sum
}

// Run makes the target what the source is, and proves it. A source that was
// changed meanwhile is no error: the report says so, and the target is not
// finished. After any error another run goes on where this one stopped.
func Run(ctx context.Context, from Source, to Target, progress Progress) (Report, error) {
	start := time.Now()
	c := &carrying{from: from, to: to, progress: progress, tables: stored.Tables(), altered: map[string]int64{}}
	identity, err := from.Identity(ctx)
	if err != nil {
		return c.report, err
	}
	if err := to.Begin(ctx, identity); err != nil {
		return c.report, err
	}
	c.state = make([]state, len(c.tables))
	for i, t := range c.tables {
		c.state[i].Name = t.Name
		if c.state[i].rows, err = from.Count(ctx, t); err != nil {
			return c.report, err
		}
		c.total += c.state[i].rows
	}
	for _, step := range []func(context.Context) error{c.compare, c.fill, c.verify, c.finish} {
		if err := step(ctx); err != nil {
			return c.report, err
		}
	}
	c.report.Took = time.Since(start)
	return c.report, nil
}

type carrying struct {
	from     Source
	to       Target
	progress Progress
	tables   []stored.Table
	state    []state
	report   Report

	total, done int64 // rows of the source; of those, in this step
	step        string
	altered     map[string]int64 // by table
}

// state is what is known of one table.
type state struct {
	Table
	rows   int64  // of the source, as counted
	fill   bool   // rows are to be added or changed
	source string // digest of the source's rows
	target string // digest of the target's, while nothing has changed it
}

func (c *carrying) begin(step string) {
	c.step, c.done = step, 0
	c.tell(0)
}

func (c *carrying) tell(n int64) {
	c.done += n
	if c.progress != nil {
		c.progress(c.step, min(c.done, c.total), c.total)
	}
}

// compare removes what the source does not have (any more), those that refer to
// others first. Changed rows to which none refer are removed too, and added
// later, so that what must be unique never stands in each other's way.
func (c *carrying) compare(ctx context.Context) error {
	c.begin("comparing")
	for i := range slices.Backward(c.tables) {
		t, s := c.tables[i], &c.state[i]
		empty, err := c.to.Empty(ctx, t)
		if err != nil {
			return err
		}
		if empty {
			s.fill = true
			c.tell(s.rows)
			continue
		}
		gone := newBatch(func(rows []stored.Row) error { return c.to.Remove(ctx, t, rows) })
		err = c.differences(ctx, t, s, func(d difference) error {
			switch {
			case d.source == nil:
				s.Removed++
				return gone.add(d.target)
			case d.target == nil:
				s.fill = true
				return nil
			}
			s.Changed++
			s.fill = true
			if t.Parent {
				return nil
			}
			return gone.add(d.target)
		})
		if err == nil {
			err = gone.flush()
		}
		if err != nil {
			return err
		}
		if s.Removed+s.Changed > 0 {
			s.target = ""
		}
	}
	return nil
}

// fill adds what is missing and changes what differs, those that others refer to
// first.
func (c *carrying) fill(ctx context.Context) error {
	c.begin("copying")
	for i, t := range c.tables {
		s := &c.state[i]
		if !s.fill {
			c.tell(s.rows)
			continue
		}
		missing := newBatch(func(rows []stored.Row) error { return c.to.Add(ctx, t, rows) })
		other := newBatch(func(rows []stored.Row) error { return c.to.Change(ctx, t, rows) })
		again := s.Changed // what was removed to be added anew is not new
		if t.Parent {
			again = 0
		}
		s.target = ""
		err := c.differences(ctx, t, s, func(d difference) error {
			switch {
			case d.source == nil:
				return fault.New(fault.Conflict, "the target is written to by somebody else: a row of %s has appeared", t.Name)
			case d.target == nil:
				s.Added++
				return missing.add(d.source)
			}
			return other.add(d.source)
		})
		for _, b := range []*batch{missing, other} {
			if err == nil {
				err = b.flush()
			}
		}
		if err != nil {
			return err
		}
		s.Added -= again
		s.target = ""
	}
	return nil
}

// verify reads the target again where it was changed, and holds it against the
// source.
func (c *carrying) verify(ctx context.Context) error {
	c.begin("verifying")
	start := time.Now()
	for i, t := range c.tables {
		s := &c.state[i]
		if s.target == "" {
			var rows int64
			d := newDigest()
			for row, err := range c.to.Rows(ctx, t) {
				if err != nil {
					return err
				}
				d.add(row)
				if rows++; rows%tellEvery == 0 {
					c.tell(tellEvery)
				}
			}
			c.tell(rows % tellEvery)
			s.target = d.sum()
			if rows != s.Rows {
				return fault.New(fault.Conflict, "the table %s has %d rows in the source and %d in the target: is a server using the target?", t.Name, s.Rows, rows)
			}
		}
		if s.target != s.source {
			return fault.New(fault.Conflict, "the table %s differs between source and target after it was carried over: is a server using the target?", t.Name)
		}
		s.SHA256 = s.source
		c.report.Altered += c.altered[t.Name]
		c.report.Tables = append(c.report.Tables, s.Table)
	}
	c.report.Again = max(2*time.Since(start), time.Second) // both sides are read
	return nil
}

// finish lets servers use the target, unless the source has moved on.
func (c *carrying) finish(ctx context.Context) (err error) {
	if c.report.Stale, err = c.from.Stale(ctx); err != nil || c.report.Stale {
		return err
	}
	return c.to.Finish(ctx)
}

// difference is a row that only one side has, or both in different forms.
type difference struct{ source, target stored.Row }

// tellEvery is after how many rows progress is told.
const tellEvery = 2000

// differences reads a table on both sides, and notes its digests and how many
// rows the source has.
func (c *carrying) differences(ctx context.Context, t stored.Table, s *state, fn func(difference) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next, stop := iter.Pull2(c.to.Rows(ctx, t))
	defer stop()
	theirs, err, more := next()
	source, target := newDigest(), newDigest()
	advance := func() {
		target.add(theirs)
		theirs, err, more = next()
	}
	s.Rows, c.altered[t.Name] = 0, 0 // a table may be read twice
	for row, failed := range c.from.Rows(ctx, t) {
		if failed != nil {
			return failed
		}
		if failed := c.sound(t, row); failed != nil {
			return failed
		}
		source.add(row)
		if s.Rows++; s.Rows%tellEvery == 0 {
			c.tell(tellEvery)
		}
		for more && err == nil && order(theirs, row, t.Key) < 0 {
			if failed := fn(difference{target: theirs}); failed != nil {
				return failed
			}
			advance()
		}
		if err != nil {
			return err
		}
		d := difference{source: row}
		if more && order(theirs, row, t.Key) == 0 {
			d.target = theirs
			advance()
		}
		if d.target == nil || !same(row, d.target) {
			if failed := fn(d); failed != nil {
				return failed
			}
		}
	}
	for more && err == nil {
		if failed := fn(difference{target: theirs}); failed != nil {
			return failed
		}
		advance()
	}
	c.tell(s.Rows % tellEvery)
	s.source, s.target = source.sum(), target.sum()
	return err
}

// digest is the SHA-256 over rows.
type digest struct {
	hash.Hash
	buffer []byte
}

func newDigest() *digest { return &digest{Hash: sha256.New()} }

func (d *digest) add(row stored.Row) {
	d.buffer = encode(d.buffer[:0], row)
	d.Write(d.buffer)
}

func (d *digest) sum() string { return hex.EncodeToString(d.Sum(nil)) }

// String is the table for people.
func (t Table) String() string {
	return fmt.Sprintf("%s: %d rows (%d added, %d changed, %d removed)", t.Name, t.Rows, t.Added, t.Changed, t.Removed)
}
