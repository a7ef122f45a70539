package objectblob

import (
	"context"
	"errors"
	"io"
	"time"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

const (
	probeName = ".safelight-probe" // of an object that there is none of
	awayAgain = 250 * time.Millisecond
	// probeBytes are more than asking can take: when so many were sent, the service
	// has taken what others send.
	probeBytes = 16 << 10
)

// watchService makes the watch that ends calls when the service is silent.
func (s *Store) watchService() *breaker.Watch {
	doubt := s.config.AwayAfter / 3
	return breaker.NewWatch(breaker.WatchConfig{
		Doubt: doubt, Patience: s.config.AwayAfter - doubt, Again: awayAgain, Probe: s.probe,
		Stopped: func(err error) {
			s.breaker.Hold()
			s.log.Warn("a bucket does not answer; what needs it fails until it does", "bucket", s.bucket, "error", err)
		},
		Back: func() {
			s.breaker.Release()
			s.log.Info("a bucket answers again", "bucket", s.bucket)
		},
	})
}

// probe looks for an object. Any answer will do, also to other requests, and so
// does an upload that makes headway.
func (s *Store) probe(ctx context.Context) error {
	received, sent := s.traffic.received.Load(), s.traffic.sent.Load()
	_, err := s.driver.Head(ctx, s.prefix+probeName)
	if err == nil || s.traffic.received.Load() > received || s.traffic.sent.Load() > sent+probeBytes {
		return nil
	}
	return err
}

// codeAway is the code of an error: the service has stopped answering.
const codeAway = "bucket-away"

func (s *Store) away(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, Code: codeAway, RetryAfter: time.Second, Cause: cause,
		Message: "the bucket " + s.bucket + " has stopped answering"}
}

// isAway tells whether the watch has ended a call.
func isAway(running context.Context) bool { return errors.Is(context.Cause(running), breaker.ErrAway) }

// answer is the body of an answer to a call that goes on until it is closed.
type answer struct {
	io.ReadCloser
	leave func()
}

// Close implements io.Closer.
func (a answer) Close() error {
	err := a.ReadCloser.Close()
	a.leave()
	return err
}
