package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"safelight/internal/fault"
)

// Split is the home store where renditions lie apart from sources. It is safe for
// concurrent use.
type Split struct {
	sources, renditions Store
}

var (
	_ Store     = (*Split)(nil)
	_ Sweeper   = (*Split)(nil)
	_ Roomer    = (*Split)(nil)
	_ Forgetter = (*Split)(nil)
)

// NewSplit makes a store that keeps blobs whose names begin with RenditionPrefix
// or OutputPrefix in one store, and all others in another.
func NewSplit(sources, renditions Store) *Split { return &Split{sources, renditions} }

// of is where a name belongs.
func (s *Split) of(name string) Store {
	if strings.HasPrefix(name, RenditionPrefix) || strings.HasPrefix(name, OutputPrefix) {
		return s.renditions
	}
	return s.sources
}

// Create implements Store. A name is known at Commit only, so what is written
// lies where sources do until then; of a rendition that costs a local copy.
func (s *Split) Create(ctx context.Context) (Writer, error) {
	w, err := s.sources.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &splitWriter{Writer: w, split: s}, nil
}

// Open implements Store.
func (s *Split) Open(ctx context.Context, name string) (Reader, error) {
	return s.of(name).Open(ctx, name)
}

// Stat implements Store.
func (s *Split) Stat(ctx context.Context, name string) (Info, error) {
	return s.of(name).Stat(ctx, name)
}

// Delete implements Store.
func (s *Split) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	return s.of(name).Delete(ctx, name, unless)
}

// List implements Store. It leaves out what lies where it does not belong.
func (s *Split) List(ctx context.Context, prefix string, fn func(Info) error) error {
	for _, store := range []Store{s.sources, s.renditions} {
		if !s.mayHave(store, prefix) {
			continue
		}
		err := store.List(ctx, prefix, func(i Info) error {
			if s.of(i.Name) != store {
				return nil
			}
			return fn(i)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayHave tells whether names that begin with prefix may belong to a store.
func (s *Split) mayHave(store Store, prefix string) bool {
	if s.of(prefix) == store {
		return true
	}
	return strings.HasPrefix(RenditionPrefix, prefix) || strings.HasPrefix(OutputPrefix, prefix)
}

// SweepTemp implements Sweeper, for those of the two stores that do.
func (s *Split) SweepTemp(ctx context.Context, olderThan time.Duration) (removed int, err error) {
	for _, store := range []Store{s.sources, s.renditions} {
		if sweeper, ok := store.(Sweeper); ok {
			n, failed := sweeper.SweepTemp(ctx, olderThan)
			removed, err = removed+n, errors.Join(err, failed)
		}
	}
	return removed, err
}

// FreeBytes implements Roomer: the room of the fuller one. It fails only where
// neither knows.
func (s *Split) FreeBytes() (int64, error) {
	free, err := room(s.sources)
	other, failed := room(s.renditions)
	switch {
	case failed != nil:
		return free, err
	case err != nil:
		return other, nil
	}
	return min(free, other), nil
}

// Forget implements Forgetter.
func (s *Split) Forget(name string) {
	if forgetter, ok := s.of(name).(Forgetter); ok {
		forgetter.Forget(name)
	}
}

// splitWriter is one of the sources' until Commit tells where the blob belongs.
type splitWriter struct {
	Writer
	split *Split
	size  int64
	moved bool // Writer is the renditions'
	ended bool
}

var (
	_ Filer    = (*splitWriter)(nil)
	_ Digester = (*splitWriter)(nil)
)

func (w *splitWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.size += int64(n)
	return n, err
}

// Commit implements Writer.
func (w *splitWriter) Commit(ctx context.Context, name string) error {
	belongs := w.split.of(name) == w.split.renditions
	switch {
	case w.ended:
		return fault.New(fault.Internal, "a blob is committed after its end")
	case belongs && !w.moved:
		if err := w.move(ctx); err != nil {
			return err
		}
	case !belongs && w.moved:
		return fault.New(fault.Internal, "a blob is committed among sources after it was among renditions")
	}
	err := w.Writer.Commit(ctx, name)
	w.ended = err == nil
	return err
}

// Abort implements Writer.
func (w *splitWriter) Abort() {
	w.ended = true
	w.Writer.Abort()
}

// move copies what was written into a writer of the renditions' store.
func (w *splitWriter) move(ctx context.Context) error {
	to, err := w.split.renditions.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, io.NewSectionReader(w.Writer, 0, w.size)); err != nil {
		to.Abort()
		return err
	}
	w.Writer.Abort()
	w.Writer, w.moved = to, true
	return nil
}

// File implements Filer where the store's writers do.
func (w *splitWriter) File() (*os.File, error) {
	if filer, ok := w.Writer.(Filer); ok {
		return filer.File()
	}
	return nil, fault.New(fault.Internal, "the store's temporary space is not local")
}

// Digest implements Digester where the store's writers do.
func (w *splitWriter) Digest() (sum [32]byte, known bool) {
	if d, ok := w.Writer.(Digester); ok {
		return d.Digest()
	}
	return sum, false
}
