package objectblob

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// reader reads one version of an object. Read holds one stream, from where it
// stands to the end; ReadAt asks for what it is to give.
type reader struct {
	store  *Store
	ctx    context.Context
	cancel context.CancelFunc
	key    string
	object Object
	info   blob.Info

	mu     sync.Mutex    // guards what follows
	pos    int64         // where Read goes on
	body   io.ReadCloser // nil is none
	at     int64         // where body stands
	failed int           // streams in a row that broke off
	moved  int64         // bytes since the last one did
	closed bool
}

var _ blob.Reader = (*reader)(nil)

// Open implements blob.Store. The reader is of use until ctx ends.
func (s *Store) Open(ctx context.Context, name string) (blob.Reader, error) {
	key, err := s.key(name)
	if err != nil {
		return nil, err
	}
	r := &reader{store: s, key: key}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if r.body, r.object, err = r.get(0, -1); err != nil {
		r.cancel()
		return nil, s.missing(ctx, err)
	}
	r.info = info(name, r.object)
	return r, nil
}

func (r *reader) get(offset, length int64) (body io.ReadCloser, o Object, err error) {
	leave, err := r.store.begin(r.ctx, func(ctx context.Context) error {
		body, o, err = r.store.driver.Get(ctx, r.key, offset, length, r.object.Version)
		return err
	})
	if err != nil {
		return nil, o, err
	}
	return answer{body, leave}, o, nil
}

// Info implements blob.Reader.
func (r *reader) Info() blob.Info { return r.info }

// Read implements io.Reader. A stream that breaks off is taken up by another.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, closed()
	}
	if r.pos >= r.info.Bytes {
		return 0, r.end()
	}
	p = p[:min(int64(len(p)), r.info.Bytes-r.pos)]
	for {
		err := r.stream()
		if err != nil {
			if !r.again(err) {
				return 0, err
			}
			continue
		}
		n, err := r.body.Read(p)
		r.pos, r.at, r.moved = r.pos+int64(n), r.at+int64(n), r.moved+int64(n)
		if err != nil {
			r.drop()
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if r.ctx.Err() != nil {
			return 0, canceled(r.ctx)
		}
		err = fault.Wrap(fault.Unavailable, unexpected(err), "the bucket %s broke off an object", r.store.bucket)
		if !r.again(err) {
			return 0, err
		}
	}
}

// stream has body stand at pos.
func (r *reader) stream() error {
	if r.body != nil && r.at == r.pos {
		return nil
	}
	r.drop()
	body, _, err := r.get(r.pos, -1)
	if err != nil {
		return r.replaced(err)
	}
	r.body, r.at = body, r.pos
	return nil
}

// enough bytes make up for a stream that broke off.
const enough = 1 << 20

// again tells whether to go on after a failure, once it has waited.
func (r *reader) again(err error) bool {
	if r.moved >= enough {
		r.failed = 0
	}
	r.moved = 0
	r.failed++
	return r.failed < r.store.config.Attempts && mayPass(err) && r.pause(r.failed)
}

// firstPause is doubled with each failure in a row.
const firstPause = 100 * time.Millisecond

// pause waits before the next attempt, for a time that differs from that of
// others who wait; it tells whether there is one.
func (r *reader) pause(failed int) bool {
	longest := firstPause << min(failed-1, 6)
	t := time.NewTimer(longest/2 + rand.N(longest/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// end takes the stream's own end, with which a checksum may come.
func (r *reader) end() error {
	if r.body == nil || r.at != r.info.Bytes {
		return io.EOF
	}
	var one [1]byte
	n, err := r.body.Read(one[:])
	r.drop()
	if n > 0 || err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(fault.Unavailable, err, "the bucket %s gave other bytes than it has", r.store.bucket)
	}
	return io.EOF
}

// replaced tells that an object is not the one that was opened.
func (r *reader) replaced(err error) error {
	switch fault.Of(err) {
	case fault.Precondition, fault.NotFound:
		return &fault.Error{Kind: fault.Unavailable, Code: CodeReplaced, Message: "the object was written again or deleted while it was read; try again", Cause: err}
	}
	return err
}

// CodeReplaced is the code of an error: a reader's object is no longer there.
const CodeReplaced = "object-replaced"

// mayPass tells whether another request may do what one could not.
func mayPass(err error) bool {
	if fault.Of(err) != fault.Unavailable {
		return false
	}
	code := fault.As(err).Code
	return code != CodeReplaced && code != codeAway
}

// unexpected is an end that comes too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return scrubbed(err)
}

func (r *reader) drop() {
	if r.body != nil {
		_ = r.body.Close()
		r.body = nil
	}
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Internal, "a blob is read at %d", off)
	}
	short := off+int64(len(p)) > r.info.Bytes
	p = p[:max(0, min(int64(len(p)), r.info.Bytes-off))]
	for n, failed := 0, 1; ; failed++ {
		if n == len(p) {
			if short {
				return n, io.EOF
			}
			return n, nil
		}
		got, err := r.readPart(p[n:], off+int64(n))
		if n += got; err == nil {
			continue
		}
		if failed >= r.store.config.Attempts || !mayPass(err) || !r.pause(failed) {
			return n, err
		}
	}
}

func (r *reader) readPart(p []byte, off int64) (int, error) {
	body, _, err := r.get(off, int64(len(p)))
	if err != nil {
		return 0, r.replaced(err)
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	if err != nil {
		if r.ctx.Err() != nil {
			return n, canceled(r.ctx)
		}
		return n, fault.Wrap(fault.Unavailable, unexpected(err), "the bucket %s broke off an object", r.store.bucket)
	}
	return n, nil
}

// Seek implements io.Seeker; it asks for nothing.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.info.Bytes
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fault.New(fault.Internal, "a blob is sought at %d", offset)
	}
	r.pos = offset
	return offset, nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.cancel() // first: it ends a Read that waits
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return closed()
	}
	r.closed = true
	r.drop()
	return nil
}

func closed() error { return fault.New(fault.Internal, "a blob is read after it was closed") }
