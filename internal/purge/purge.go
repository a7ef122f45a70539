// Package purge takes images away: the row in the catalog, renditions in every
// cache, and prepared answers; and sweeps what nobody refers to any more.
package purge

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync/atomic"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/task"
)

// Deps are the parts that removing needs.
type Deps struct {
	Catalog catalog.Catalog
	Janitor catalog.Janitor
	Outputs task.Outputs  // nil: none are swept
	Caches  []cache.Cache // that hold renditions
	Blobs   purger        // holds sources that lie elsewhere; nil is none
	Log     *slog.Logger
	Answers Answers // nil: none are remembered
	// Tell tells other nodes what has left, without waiting for them; nil is no
	// others, or none that are not told otherwise.
	Tell func(News)
	// Farewell are the tasks that an image leaves behind; nil is none.
	Farewell func() []task.New
}

// purger removes everything of one source.
type purger interface {
	Purge(ctx context.Context, source asset.Digest) error
}

// Service removes images. It is safe for concurrent use.
type Service struct {
	Deps
	epochs Epochs
}

// New makes a service over its parts.
func New(deps Deps) *Service {
	return &Service{Deps: deps, epochs: Epochs{seed: maphash.MakeSeed()}}
}

// Epochs are the counters that tell whether a prepared answer is still true.
func (s *Service) Epochs() *Epochs { return &s.epochs }

// Delete removes an image, with its renditions where no other image shares the
// source. The source's bytes go with a later sweep. A missing image is
// fault.NotFound.
func (s *Service) Delete(ctx context.Context, owner string, id asset.ID) error {
	img, err := s.Catalog.Image(ctx, owner, id)
	if err != nil {
		return err
	}
	gone := catalog.Delete{Owner: owner, ID: id}
	if s.Farewell != nil {
		gone.Tasks = s.Farewell()
	}
	change := catalog.Change{Deletes: []catalog.Delete{gone}}
	if _, err := s.Catalog.Commit(ctx, change); err != nil {
		return err
	}
	s.Gone(ctx, img)
	return nil
}

// Gone is called when an image has left the catalog: answers prepared for it
// stop being given at once, and its renditions go unless its source is in use.
func (s *Service) Gone(ctx context.Context, img asset.Image) {
	ctx = context.WithoutCancel(ctx)
	s.epochs.Bump(img.Owner, img.ID.String())
	if img.Key != "" {
		s.epochs.Bump(img.Owner, img.Key)
	}
	if s.Tell != nil {
		s.Tell(News{Names: []Name{{img.Owner, img.ID.String()}, {img.Owner, img.Key}}, Sources: []asset.Digest{img.Source.Digest}})
	}
	s.dropUnused(ctx, img.Source.Digest)
}

// dropUnused removes a source's renditions from caches, unless an image has it.
func (s *Service) dropUnused(ctx context.Context, source asset.Digest) {
	used, err := s.Janitor.Used(ctx, source)
	if err != nil {
		s.Log.Warn("purge: can't tell whether a source is in use", "source", source, "error", err)
		return
	}
	if used {
		return
	}
	caches := make([]purger, 0, len(s.Caches)+1)
	for _, c := range s.Caches {
		caches = append(caches, c)
	}
	if s.Blobs != nil {
		caches = append(caches, s.Blobs)
	}
	for _, c := range caches {
		if err := c.Purge(ctx, source); err != nil {
			s.Log.Warn("purge: its bytes stay in a cache until it needs the room", "source", source, "error", err)
		}
	}
}

// Epochs count changes to what names point at, hashed into a fixed number of
// counters: who prepares an answer notes the epoch before looking the name up,
// and gives the answer only while the epoch is the same. Two names may share a
// counter, which costs a lookup and no more.
type Epochs struct {
	seed     maphash.Seed
	counters [8192]atomic.Uint32
}

// Of is the counter of a name (a key or an id) of an owner.
func (e *Epochs) Of(owner, name string) *atomic.Uint32 {
	h := maphash.String(e.seed, owner) ^ maphash.String(e.seed, name)
	return &e.counters[h%uint64(len(e.counters))]
}

// Bump makes answers prepared for a name untrue.
func (e *Epochs) Bump(owner, name string) { e.Of(owner, name).Add(1) }

// BumpAll makes every prepared answer untrue.
func (e *Epochs) BumpAll() {
	for i := range e.counters {
		e.counters[i].Add(1)
	}
}
