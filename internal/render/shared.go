package render

import (
	"bytes"
	"context"

	"safelight/internal/asset"
	"safelight/internal/cache"
)

// Turns lets one node of several make a variant, while the others wait for what
// it makes. Implementations are safe for concurrent use.
type Turns interface {
	// Take asks for the right to make a variant, and waits while another node has
	// it. With Yours, done must be called once: when the result is where others
	// find it, or with the error for which there is none. With Ended another node
	// has made it: it may be there. With Free nobody knows, or it took too long:
	// make it.
	Take(ctx context.Context, v asset.VariantKey) (t Turn, done func(error))
}

// Turn is whose the right to make a variant is.
type Turn uint8

// The turns.
const (
	Free Turn = iota
	Yours
	Ended
)

// sharing bounds how many renditions are on their way to other nodes at once; of
// more, some are not shared.
const sharing = 16

// Share has the service look for renditions in a cache that it shares with other
// nodes, put what it makes there too, and take turns with them; nil is neither.
// It is called before the first request.
func (s *Service) Share(shared cache.Cache, turns Turns) {
	s.shared, s.turns, s.slots = shared, turns, make(chan struct{}, sharing)
}

// fromShared looks in the cache that nodes share; what is found goes up into this
// node's own.
func (s *Service) fromShared(ctx context.Context, key cache.Key) (*cache.Entry, bool) {
	if s.shared == nil {
		return nil, false
	}
	e, ok, err := s.shared.Get(ctx, key)
	if err != nil {
		s.log.Warn("shared cache", "error", err)
	}
	if !ok {
		return nil, false
	}
	if e.Meta.Bytes <= s.config.KeepInCache {
		s.keep(ctx, s.memory, key, e.Meta, bytes.NewReader(e.Data))
	}
	s.behind(func() { s.keep(context.WithoutCancel(ctx), s.disk, key, e.Meta, bytes.NewReader(e.Data)) })
	return e, true
}

// behind has work done that nobody waits for, if not too much of it is under way
// already. The channel is closed when it is done, or will not be.
func (s *Service) behind(work func()) <-chan struct{} {
	done := make(chan struct{})
	select {
	case s.slots <- struct{}{}:
		go func() {
			defer func() { <-s.slots }()
			defer close(done)
			work()
		}()
	default:
		close(done)
	}
	return done
}

// share puts a rendition where other nodes find it, while the answer is given.
// The channel is closed when it is there, or will not be; nil is closed.
func (s *Service) share(ctx context.Context, key cache.Key, meta asset.Rendition, data []byte) <-chan struct{} {
	if s.shared == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	return s.behind(func() { s.keep(ctx, s.shared, key, meta, bytes.NewReader(data)) })
}

// makeInTurn makes a rendition, unless another node makes it just now: then it
// waits for that, and makes its own only if the other's is not to be found.
func (s *Service) makeInTurn(ctx context.Context, w wanted) (*product, error) {
	if s.turns == nil {
		return s.make(ctx, w, Awaited)
	}
	turn, done := s.turns.Take(ctx, w.key.Variant)
	if turn != Free { // another node may have ended since we looked
		if e, ok := s.fromShared(ctx, w.key); ok {
			if turn == Yours {
				done(nil)
			}
			return &product{meta: e.Meta, data: e.Data, from: FromShared}, nil
		}
	}
	p, err := s.make(ctx, w, Awaited)
	if turn == Yours {
		go func() {
			if p != nil && p.shared != nil {
				<-p.shared
			}
			done(err)
		}()
	}
	return p, err
}
