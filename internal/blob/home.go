package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"safelight/internal/fault"
)

// Home is the store of blobs that are named by their SHA-256, as all services
// share it. It adds two promises: a blob whose bytes are not what its name says
// is not given out, and the sweep removes nothing that an upload is about to
// refer to. It is safe for concurrent use.
type Home struct {
	Store
	// Recall, if not nil, brings bytes back whose copy here was removed since
	// they lie elsewhere, or here in another form. It gives out nothing but what
	// the name promises, and fault.NotFound for what lies nowhere. Set it before
	// the first use.
	Recall func(ctx context.Context, name string) (Reader, error)
	// Fence, if not nil, does for the processes that share the store what Keep
	// and Remove do for each other in this one. Set it before the first use.
	Fence Fence

	seed  maphash.Seed
	locks [256]sync.RWMutex // striped over digests; held for reading by uploads, for writing by the sweep

	mu    sync.Mutex
	sound map[string]struct{} // names whose bytes were seen to be right
}

// maxSound bounds what is remembered; beyond it all is forgotten and checked
// again when it is next opened.
const maxSound = 200_000

// NewHome wraps a store.
func NewHome(store Store) *Home {
	return &Home{Store: store, seed: maphash.MakeSeed(), sound: make(map[string]struct{})}
}

// Open reads a blob. The first time in the life of the process all of it is
// read and held against its name, unless the reader knows the digest of its
// bytes; bytes that differ are fault.Internal, with the name in the cause. What
// is not here, or damaged, or can't be reached, is recalled; Stat only tells what
// is here.
func (s *Home) Open(ctx context.Context, name string) (Reader, error) {
	r, err := s.open(ctx, name)
	if forgetter, ok := s.Store.(Forgetter); ok && IsDamage(err) {
		forgetter.Forget(name) // it may have come damaged from where it lies
		r, err = s.open(ctx, name)
	}
	if err == nil || s.Recall == nil || ctx.Err() != nil || fault.Of(err) == fault.Invalid {
		return r, err
	}
	recalled, again := s.Recall(ctx, name)
	if again != nil && fault.Of(err) != fault.NotFound {
		return nil, err
	}
	return recalled, again
}

// open reads what is here.
func (s *Home) open(ctx context.Context, name string) (Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if d, ok := r.(Digester); ok {
		if sum, known := d.Digest(); known {
			if err := compare(sum[:], name); err != nil {
				_ = r.Close()
				return nil, err
			}
			return r, nil
		}
	}
	if s.known(name) {
		return r, nil
	}
	if err := check(r, name); err != nil {
		_ = r.Close()
		return nil, err
	}
	s.Trust(name)
	return r, nil
}

// Forget has the next Open of a name read what lies in the store itself, wherever
// else its bytes are kept.
func (s *Home) Forget(name string) {
	if forgetter, ok := s.Store.(Forgetter); ok {
		forgetter.Forget(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sound, name)
}

func check(r Reader, name string) error {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		if known := fault.As(err); known != nil && known.Kind != fault.Internal {
			return err // of a store that is away, say
		}
		return fault.Wrap(fault.Internal, err, "the stored bytes can't be read")
	}
	if err := compare(h.Sum(nil), name); err != nil {
		return err
	}
	_, err := r.Seek(0, io.SeekStart)
	return err
}

func compare(sum []byte, name string) error {
	if got := hex.EncodeToString(sum); got != path.Base(name) {
		return Damage(fault.New(fault.Internal, "%s has the SHA-256 %s", name, got))
	}
	return nil
}

// CodeDamaged is the code of an error: bytes are not those that were stored.
const CodeDamaged = "damaged-bytes"

// Damage is the error of bytes that are not those which were stored.
func Damage(cause error) error {
	return &fault.Error{Kind: fault.Internal, Code: CodeDamaged, Message: "the stored bytes are damaged", Cause: cause}
}

// IsDamage tells whether an error is that of damaged bytes.
func IsDamage(err error) bool {
	known := fault.As(err)
	return known != nil && known.Code == CodeDamaged
}

func (s *Home) known(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sound[name]
	return ok
}

// Trust notes that a blob's bytes are right: they have just been hashed.
func (s *Home) Trust(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sound) >= maxSound {
		clear(s.sound)
	}
	s.sound[name] = struct{}{}
}

// lock is that of a digest: all forms of the same bytes have one.
func (s *Home) lock(name string) *sync.RWMutex {
	return &s.locks[maphash.String(s.seed, path.Base(name))%uint64(len(s.locks))]
}

// Copies tells in which forms a blob's bytes lie here, without reading them: as
// they are, and for a source recompressed (blob.RecompressedName). There is
// nothing here where it is empty.
func (s *Home) Copies(ctx context.Context, name string) ([]Info, error) {
	names := []string{name}
	if strings.HasPrefix(name, SourcePrefix) {
		names = append(names, RecompressedName(path.Base(name)))
	}
	var found []Info
	for _, name := range names {
		info, err := s.Store.Stat(ctx, name)
		switch {
		case err == nil:
			found = append(found, info)
		case fault.Of(err) != fault.NotFound:
			return nil, err
		}
	}
	return found, nil
}

// Keep holds off the removal of a name, and of other forms of the same bytes,
// from before its commit until after that of the row which refers to it. The
// caller must release it.
func (s *Home) Keep(name string) (release func()) {
	l := s.lock(name)
	l.RLock()
	return l.RUnlock
}

// Hold is Keep for all processes that share the store: it is for who takes away
// what else there is of some bytes, and so must be sure that those at home stay. As
// long as it lasts, rows that refer to them are not stored, so it should be short.
// Bytes that are just being removed, or held, are fault.Unavailable. The caller
// must release it.
func (s *Home) Hold(ctx context.Context, name string) (release func(), err error) {
	let := s.Keep(name)
	lower, err := s.raise(ctx, name)
	if err != nil {
		let()
		if fault.Of(err) == fault.Conflict {
			err = &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Second, Message: "the same bytes are just being removed; try again", Cause: err}
		}
		return nil, err
	}
	return func() {
		_ = lower(context.WithoutCancel(ctx)) // otherwise it ends by itself
		let()
	}, nil
}

// Fence keeps other processes from referring to bytes while they are removed.
type Fence interface {
	// Raise announces that all forms of the bytes of a digest (in hexadecimal)
	// may be removed. Rows that refer to them are stored before it returns, or
	// not before lower has: until then, storing one is fault.Unavailable. Should
	// lower not be called, that ends by itself, when no request to a store can
	// have an effect any more. fault.Conflict tells that another process is at it.
	Raise(ctx context.Context, digest string) (lower func(context.Context) error, err error)
}

// removeTime is how long a store gets for a removal, where other processes wait.
const removeTime = time.Minute

// Remove deletes a blob if unused (or not needed here any more) still holds
// while no upload of that name is under way, unless it was committed at or after a time.
func (s *Home) Remove(ctx context.Context, name string, unless time.Time, unused func() (bool, error)) (bool, error) {
	l := s.lock(name)
	l.Lock()
	defer l.Unlock()
	lower, err := s.raise(ctx, name)
	if fault.Of(err) == fault.Conflict && err != nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if ok, err := unused(); err != nil || !ok {
		return false, errors.Join(err, lower(context.WithoutCancel(ctx)))
	}
	s.mu.Lock()
	delete(s.sound, name)
	s.mu.Unlock()
	deleting, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	gone, err := s.Store.Delete(deleting, name, unless)
	if err != nil {
		return false, err // it may still happen, so the fence stands for its time
	}
	return gone, lower(context.WithoutCancel(ctx))
}

func (s *Home) raise(ctx context.Context, name string) (lower func(context.Context) error, err error) {
	if s.Fence == nil {
		return func(context.Context) error { return nil }, nil
	}
	return s.Fence.Raise(ctx, path.Base(name))
}
