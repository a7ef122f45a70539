package blobcopy

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
)

// unread is the error of a source that did not give a blob's bytes, which says
// nothing about the target.
type unread struct{ error }

func (u *unread) Unwrap() error { return u.error }

// one deals with a blob: it is copied, or is at the target and read there. An
// error ends the run.
func (c *copying) one(ctx context.Context, s sized) error {
	damaged := false
	if bytes, ok := c.target[s.entry]; ok && bytes == s.bytes {
		err := c.patiently(ctx, func() error { return c.verify(ctx, s) })
		if err == nil {
			c.count(s, func(r *Report) { r.Already.add(s.bytes) })
			return nil
		}
		if damaged = blob.IsDamage(err) && !errors.As(err, new(*unread)); !damaged {
			return c.gaveUp(ctx, s, err)
		}
	}
	if err := c.patiently(ctx, func() error { return c.copy(ctx, s) }); err != nil {
		return c.gaveUp(ctx, s, err)
	}
	c.count(s, func(r *Report) {
		r.Copied.add(s.bytes)
		if damaged {
			r.Repaired++
		}
	})
	return nil
}

// gaveUp notes a blob that could not be dealt with, or ends the run.
func (c *copying) gaveUp(ctx context.Context, s sized, err error) error {
	var away *stopped
	var reading *unread
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &away) || !errors.As(err, &reading):
		return err
	case fault.Of(err) == fault.NotFound:
		c.count(s, func(r *Report) { r.Vanished++ })
	case blob.IsDamage(err):
		c.trouble(s, func(r *Report) *[]Trouble { return &r.Damaged }, err)
	default:
		c.trouble(s, func(r *Report) *[]Trouble { return &r.Failed }, err)
	}
	return nil
}

// Pauses between attempts, and how many a blob gets while others go.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
	attempts   = 5
)

// stopped is the error of a run in which nothing goes any more.
type stopped struct{ error }

func (s *stopped) Unwrap() error { return s.error }

// patiently tries again what may pass, until Patience is over. A blob that can't be
// read while others are copied is given up after a few attempts.
func (c *copying) patiently(ctx context.Context, do func() error) error {
	var failed time.Time
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil {
			c.moved.Store(time.Now().UnixNano())
			return nil
		}
		if !passing(err) || ctx.Err() != nil {
			return err
		}
		if failed.IsZero() {
			failed = time.Now()
		}
		switch {
		case attempt >= attempts && errors.As(err, new(*unread)) && c.moved.Load() > failed.UnixNano():
			return err
		case time.Since(failed) > c.Patience:
			return &stopped{err}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// copy carries a blob over. Nothing is at the target before its bytes are known
// to be right, as far as that can be known.
func (c *copying) copy(ctx context.Context, s sized) error {
	r, err := c.From.Open(ctx, s.name())
	if err != nil {
		return &unread{err}
	}
	defer r.Close()
	w, err := c.To.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	sum, err := pour(ctx, w, r)
	if err != nil {
		return err
	}
	size := r.Info().Bytes
	written := &writtenReader{SectionReader: io.NewSectionReader(w, 0, size), info: blob.Info{Name: s.name(), Bytes: size}}
	proven, err := c.prove(s.entry, sum, written)
	if err == nil && !proven {
		err = c.noted(ctx, r, sum)
	}
	if err != nil {
		return &unread{err}
	}
	if err := w.Commit(ctx, s.name()); err != nil {
		return err
	}
	if proven && !c.Verify {
		return nil
	}
	return c.readBack(ctx, s, sum, proven)
}

// pour writes all of a blob, and gives the SHA-256 of it.
func pour(ctx context.Context, to io.Writer, r blob.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	from := &guarded{r: r, ctx: ctx}
	n, err := io.Copy(io.MultiWriter(to, h), from)
	switch {
	case from.err != nil:
		return sum, &unread{from.err}
	case err != nil:
		return sum, err
	case n != r.Info().Bytes:
		return sum, &unread{blob.Damage(fault.New(fault.Internal, "%d bytes of %d came", n, r.Info().Bytes))}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// guarded tells errors of reading from those of writing, and ends with a context.
type guarded struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (g *guarded) Read(p []byte) (int, error) {
	if g.err = g.ctx.Err(); g.err != nil {
		return 0, g.err
	}
	n, err := g.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		g.err = err
	}
	return n, err
}

// writtenReader reads what a writer was given.
type writtenReader struct {
	*io.SectionReader
	info blob.Info
}

func (r *writtenReader) Info() blob.Info { return r.info }

func (r *writtenReader) Close() error { return nil }

// prove holds a blob's bytes, whose SHA-256 is sum, against its name. proven is
// false where that can't be done.
func (c *copying) prove(e entry, sum asset.Digest, stored blob.Reader) (proven bool, err error) {
	if e.sealed {
		if c.Keys == nil {
			return false, nil
		}
		if _, ok := c.Keys.Opens(stored.Info().Name); !ok {
			return false, nil
		}
		plain, err := c.Keys.Open(stored)
		if err != nil {
			return false, err
		}
		h := sha256.New()
		if _, err := io.Copy(h, plain); err != nil { // which finds out any change
			return false, err
		}
		sum = asset.Digest(h.Sum(nil))
		if e.kind == recompressed {
			return true, nil
		}
	}
	if e.kind == recompressed {
		return false, nil
	}
	if sum != e.digest {
		return false, blob.Damage(fault.New(fault.Internal, "the SHA-256 is %s", sum))
	}
	return true, nil
}

// noted holds a digest against the one that the store has noted, if it has.
func (c *copying) noted(ctx context.Context, r blob.Reader, sum asset.Digest) error {
	want := r.Info().SHA256
	if want == "" {
		info, err := c.From.Stat(ctx, r.Info().Name)
		if err != nil {
			return err
		}
		want = info.SHA256
	}
	if want != "" && want != sum.String() {
		return blob.Damage(fault.New(fault.Internal, "the SHA-256 is %s, and was %s when it was stored", sum, want))
	}
	return nil
}

// readBack looks whether the target has the bytes that were written. Where only
// the name's digest is lacking, that which the target has noted will do.
func (c *copying) readBack(ctx context.Context, s sized, sum asset.Digest, proven bool) error {
	if info, err := c.To.Stat(ctx, s.name()); err == nil && info.SHA256 == sum.String() && !c.Verify {
		c.verified(s, proven)
		return nil
	}
	r, err := c.To.Open(ctx, s.name())
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := hashed(ctx, r)
	if err != nil {
		return err
	}
	if got != sum {
		return fault.New(fault.Unavailable, "%s has other bytes than were written: the SHA-256 is %s", s.name(), got)
	}
	c.verified(s, proven)
	return nil
}

func (c *copying) verified(s sized, proven bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Verified.add(s.bytes)
	if !proven {
		c.report.Unproven++
	}
}

// hashed gives the SHA-256 of all of a blob.
func hashed(ctx context.Context, r blob.Reader) (asset.Digest, error) {
	sum, err := pour(ctx, io.Discard, r)
	var reading *unread
	if errors.As(err, &reading) {
		err = reading.error
	}
	return sum, err
}

// verify reads a blob that is at the target already. Damage is that of the
// target; what can't be held against its name is compared with the source.
func (c *copying) verify(ctx context.Context, s sized) error {
	r, err := c.To.Open(ctx, s.name())
	if err != nil && fault.Of(err) == fault.NotFound {
		return blob.Damage(err) // it has gone since it was listed
	}
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := hashed(ctx, r)
	if err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	proven, err := c.prove(s.entry, sum, r)
	if err != nil {
		return err
	}
	if !proven {
		err = c.sameAtSource(ctx, s, sum)
	}
	if err == nil {
		c.verified(s, proven)
	}
	return err
}

// sameAtSource compares what the target has with what the source has.
func (c *copying) sameAtSource(ctx context.Context, s sized, sum asset.Digest) error {
	r, err := c.From.Open(ctx, s.name())
	if err != nil {
		return &unread{err}
	}
	defer r.Close()
	same, err := hashed(ctx, r)
	if err != nil {
		return &unread{err}
	}
	if same != sum {
		return blob.Damage(fault.New(fault.Internal, "the SHA-256 is %s, and at the source %s", sum, same))
	}
	return nil
}
