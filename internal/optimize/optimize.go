// Package optimize makes picture files on this machine smaller, for the command
// line: it finds them, has a codec pool encode each so that it just reaches a
// target, and writes what came out, or keeps the source where that is no better.
// It reads headers and moves bytes; pixels stay in the codec processes.
package optimize

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"safelight/internal/codec"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// Config says what is to be made of the files, and where it goes.
type Config struct {
	Plan     plan.Config
	Search   plan.Search   // with targets
	Format   format.Format // of the results; Unknown is each source's own, or JPEG where that can't be encoded
	Auto     bool          // the smallest of the formats that suit the source, in Format's place
	Out      string        // directory for the results; "" writes none
	InPlace  bool          // results replace their sources; not with Out
	Parallel int           // files at once; at least 1
	Report   *Report       // takes the pictures; nil is none
}

// State is what became of a file.
type State string

// The states. What is Kept was no larger than what could be made of it, or
// nothing reached the targets.
const (
	Optimized State = "optimized"
	Kept      State = "kept"
	Failed    State = "failed"
)

// Result is what became of one file. Sizes are bytes. Encoder to Trials are of
// the file that was made; they are empty where the source is kept.
type Result struct {
	File   string `json:"file"` // as it was named, or found
	State  State  `json:"state"`
	Output string `json:"output,omitempty"` // the file that was written
	Reason string `json:"reason,omitempty"` // for Kept
	Error  string `json:"error,omitempty"`  // for Failed

	SourceFormat format.Format `json:"source_format,omitempty"`
	Format       format.Format `json:"format,omitempty"` // of Output, or of what would be
	Width        int           `json:"width,omitempty"`  // upright
	Height       int           `json:"height,omitempty"`
	Before       int64         `json:"bytes_before,omitempty"`
	Bytes        int64         `json:"bytes,omitempty"`
	Ratio        float64       `json:"ratio,omitempty"` // Bytes / Before
	Tried        int64         `json:"tried,omitempty"` // bytes of the best result, where the source is kept

	Encoder    string           `json:"encoder,omitempty"`
	Settings   string           `json:"settings,omitempty"`
	Scores     *quality.Scores  `json:"scores,omitempty"` // nil where nothing was measured
	Targets    *quality.Targets `json:"targets,omitempty"`
	Met        *bool            `json:"met,omitempty"` // the targets are reached
	Trials     int              `json:"trials,omitempty"`
	CPUSeconds float64          `json:"cpu_seconds"` // of codec processes, all formats together
	Warnings   []string         `json:"warnings,omitempty"`
}

// fail turns a result into a failure.
func (r Result) fail(err error) Result {
	r.State, r.Error, r.Format, r.Bytes, r.Ratio = Failed, describe(err), format.Unknown, 0, 0
	return r
}

// describe says what is wrong without naming the file, which is named beside it.
func describe(err error) string {
	if e := fault.As(err); e != nil {
		if strings.Contains(e.Limit, ".") && !strings.Contains(e.Message, e.Limit) { // it is a setting's name
			return e.Message + " (" + e.Limit + ")"
		}
		return e.Message
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err.Error()
	}
	return err.Error()
}

// run is one call of Run.
type run struct {
	Config
	pool   *codec.Pool
	writes map[string]bool // formats that the pool can write
	names  names
}

// Run optimises files, several at once, and hands each result to done, one at a
// time, in the order in which they get ready. It ends early when ctx does or
// done fails, and answers that error; no half-written file is left then.
func Run(ctx context.Context, pool *codec.Pool, c Config, sources []Source, done func(Result) error) error {
	r := &run{Config: c, pool: pool, writes: make(map[string]bool)}
	r.Plan.MaxAVIFPixels = max(r.Plan.MaxAVIFPixels, r.Plan.MaxOutputPixels) // nobody else waits here
	info := pool.Info()
	for _, name := range info.Writes {
		r.writes[name] = true
	}
	if info.Fallback != nil {
		for _, name := range info.Fallback.Writes {
			r.writes[name] = true
		}
	}
	var mu sync.Mutex
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(max(c.Parallel, 1))
	for _, s := range sources {
		if inner.Err() != nil {
			break
		}
		wanted := r.wanted(s)
		clash := wanted != "" && !r.names.take(wanted, s.Path)
		group.Go(func() error {
			var result Result
			if clash {
				result = Result{File: s.Path}.fail(r.names.clash(wanted))
			} else {
				result = r.file(inner, s, wanted)
			}
			mu.Lock()
			defer mu.Unlock()
			if err := inner.Err(); err != nil && result.State == Failed {
				return err // it failed because of that
			}
			return done(result)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
