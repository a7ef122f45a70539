package origin

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"safelight/internal/fault"
)

// body is an answer's body as it comes in: it ends at the limit on bytes, and
// when nothing comes for a while. Its errors are classified. Closing it ends
// the fetch.
type body struct {
	from   io.ReadCloser
	ctx    context.Context
	left   int64 // bytes that may still come
	max    int64
	stall  time.Duration
	timer  *time.Timer
	finish func(bytes int64, err error)

	bytes int64
	err   error // what the last Read ended with
	once  sync.Once
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, from io.ReadCloser, maxBytes int64, stall time.Duration, finish func(int64, error)) *body {
	timer := time.AfterFunc(stall, func() {
		cancel(fault.New(fault.Timeout, "the origin sent nothing for %s (remote.stall)", stall))
	})
	timer.Stop() // it runs while a Read waits
	return &body{from: from, ctx: ctx, left: maxBytes, max: maxBytes, stall: stall, timer: timer, finish: finish}
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1] // one more tells that it goes on
	}
	b.timer.Reset(b.stall)
	n, err := b.from.Read(p)
	b.timer.Stop()
	b.bytes += int64(n)
	if b.left -= int64(n); b.left < 0 {
		b.err = tooLarge(b.max, b.bytes)
		return 0, b.err
	}
	if err != nil && err != io.EOF {
		err = classify(b.ctx, err)
	}
	b.err = err
	return n, err
}

// Close may be called more than once.
func (b *body) Close() error {
	b.once.Do(func() {
		b.timer.Stop()
		_ = b.from.Close()
		err := b.err
		switch {
		case errors.Is(err, io.EOF):
			err = nil
		case err == nil:
			err = fault.New(fault.Canceled, "the rest of the file was not wanted")
		}
		b.finish(b.bytes, err)
	})
	return nil
}

func tooLarge(limit, got int64) error {
	return fault.Limit(fault.TooLarge, "ingest.max_file_bytes", limit, got, "the file at the origin is larger than the limit of %d bytes", limit)
}

// classify tells what an error of the network is. What the network says goes
// to logs only: it names addresses.
func classify(ctx context.Context, err error) error {
	if fault.As(err) != nil {
		return err
	}
	if cause := context.Cause(ctx); fault.As(cause) != nil {
		return cause
	} else if cause != nil {
		return fault.Wrap(fault.Canceled, cause, "the fetch was cancelled")
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fault.Wrap(fault.Timeout, err, "the origin did not answer in time")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Wrap(fault.Upstream, err, "the origin broke off before the end of the file")
	}
	return fault.Wrap(fault.Upstream, err, "the origin could not be reached, or did not answer as a web server should")
}
