package purge

import (
	"context"
	"sync"

	"safelight/internal/asset"
)

// News is what has left the catalog, as nodes tell each other.
type News struct {
	Names   []Name
	Sources []asset.Digest // that may not be in use any more
}

// Name is a key or an id, as text, that does not stand for what it did.
type Name struct{ Owner, Name string }

// Answers are answers of the catalog that are remembered.
type Answers interface {
	// Forget makes sure that what is remembered of names is not given any more.
	Forget(ctx context.Context, names []Name)
	// ForgetAll does so with everything.
	ForgetAll()
}

// Hear takes in what another node tells.
func (s *Service) Hear(ctx context.Context, n News) {
	s.hearNames(ctx, n.Names)
	for _, d := range n.Sources {
		s.dropUnused(ctx, d)
	}
}

// hearNames has remembered answers forgotten before prepared ones: otherwise
// these could be prepared again from those.
func (s *Service) hearNames(ctx context.Context, names []Name) {
	if s.Answers != nil {
		s.Answers.Forget(ctx, names)
	}
	for _, n := range names {
		s.epochs.Bump(n.Owner, n.Name)
	}
}

// HearAll takes in that anything may have left the catalog.
func (s *Service) HearAll() {
	if s.Answers != nil {
		s.Answers.ForgetAll()
	}
	s.epochs.BumpAll()
}

// Ear takes in what other nodes tell, in order, without holding up who passes it
// on. It is safe for concurrent use.
type Ear struct {
	service *Service
	names   chan []Name
	sources chan asset.Digest
	all     chan struct{}
	stop    context.CancelFunc
	running sync.WaitGroup
}

// maxNews is how much waits to be taken in; of more names, all are forgotten, and
// renditions of more sources stay in caches until these need the room.
const maxNews = 4096

// Ear makes an ear; Close must be called.
func (s *Service) Ear() *Ear {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Ear{service: s, names: make(chan []Name, maxNews), sources: make(chan asset.Digest, maxNews), all: make(chan struct{}, 1), stop: cancel}
	e.running.Go(func() {
		for ctx.Err() == nil {
			select {
			case n := <-e.names:
				s.hearNames(ctx, n)
			case <-e.all:
				s.HearAll()
			case <-ctx.Done():
			}
		}
	})
	e.running.Go(func() { // the database may be slow to tell, which names must not wait for
		for ctx.Err() == nil {
			select {
			case d := <-e.sources:
				s.dropUnused(ctx, d)
			case <-ctx.Done():
			}
		}
	})
	return e
}

// Hear takes in news soon.
func (e *Ear) Hear(n News) {
	select {
	case e.names <- n.Names:
	default:
		e.Lost()
	}
	for _, d := range n.Sources {
		select {
		case e.sources <- d:
		default:
		}
	}
}

// Lost takes in soon that news were missed.
func (e *Ear) Lost() {
	select {
	case e.all <- struct{}{}:
	default: // that is going to be done anyway
	}
}

// Close ends the ear; what waits is not taken in any more.
func (e *Ear) Close() error {
	e.stop()
	e.running.Wait()
	return nil
}
