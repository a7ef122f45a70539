// Package objectblob is what all object stores have in common: a blob.Store over
// a Driver, which knows one service. It spools what is written, reads with
// requests that are tied to one version of an object, waits no longer than it is
// told for a service that does not answer, and keeps off one that has failed
// again and again.
//
// Two promises of blob.Store are kept only as far as such services go. A Commit
// whose answer is lost on the way fails although the object may be there. And a
// reader whose one stream breaks off goes on with another request, which fails
// with fault.Unavailable when the object was replaced or deleted meanwhile; it
// never mixes the bytes of two.
package objectblob

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"safelight/internal/blob"
	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// Config is how any service is spoken to.
type Config struct {
	// PartBytes is what an upload is cut into; smaller objects go in one request, and
	// to S3 those below 16 MiB.
	PartBytes int64 `koanf:"part_bytes"`
	// Parallel is how many parts of one object are under way at a time. They and one
	// more lie in memory.
	Parallel int `koanf:"parallel"`
	// Attempts is how often one request is tried before it has failed.
	Attempts int `koanf:"attempts"`
	// Stall is how long a connection may go without a byte in either direction.
	Stall time.Duration `koanf:"stall"`
	// AwayAfter is how long the service may be silent until calls fail at once, and
	// go on to do so until it answers again. It is not silent while anything goes
	// over its connections.
	AwayAfter time.Duration `koanf:"away_after"`
	// Failures in a row are what it takes for a destination to be left alone for
	// Pause.
	Failures int           `koanf:"failures"`
	Pause    time.Duration `koanf:"pause"`
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{PartBytes: 8 << 20, Parallel: 2, Attempts: 4, Stall: 30 * time.Second, AwayAfter: 1800 * time.Millisecond, Failures: 5, Pause: 5 * time.Second}
}

// Bounds of settings. Parts below 5 MiB are refused by S3, and none of an object
// is larger than what memory is meant for.
const (
	minPart, maxPart = 5 << 20, 512 << 20
	maxParallel      = 32
	maxAttempts      = 20
)

// Validate tells everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.PartBytes < minPart || c.PartBytes > maxPart {
		errs = append(errs, fault.New(fault.Invalid, "objects.part_bytes is %d; expected 5 to 512 MiB", c.PartBytes))
	}
	if c.Parallel < 1 || c.Parallel > maxParallel {
		errs = append(errs, fault.New(fault.Invalid, "objects.parallel is %d; expected 1 to %d", c.Parallel, maxParallel))
	}
	if c.Attempts < 1 || c.Attempts > maxAttempts {
		errs = append(errs, fault.New(fault.Invalid, "objects.attempts is %d; expected 1 to %d", c.Attempts, maxAttempts))
	}
	if c.Stall < time.Millisecond {
		errs = append(errs, fault.New(fault.Invalid, "objects.stall is %v; expected at least 1ms", c.Stall))
	}
	if c.AwayAfter < 10*time.Millisecond {
		errs = append(errs, fault.New(fault.Invalid, "objects.away_after is %v; expected at least 10ms", c.AwayAfter))
	}
	if c.Failures < 1 {
		errs = append(errs, fault.New(fault.Invalid, "objects.failures is %d; expected at least 1", c.Failures))
	}
	if c.Pause < time.Millisecond {
		errs = append(errs, fault.New(fault.Invalid, "objects.pause is %v; expected at least 1ms", c.Pause))
	}
	return errors.Join(errs...)
}

// Options are the parts of a store.
type Options struct {
	Config Config
	// Driver speaks to the service.
	Driver Driver
	// Bucket is its name, for messages.
	Bucket string
	// Prefix stands before every name, without a slash at its end; "" is none.
	Prefix string
	// Spool is a local directory for what is being written; it is made when it is
	// missing. Files in it have no names, so a crash leaves nothing.
	Spool string
	// Breaker keeps off a service that fails; nil is one of the store's own.
	Breaker *breaker.Breaker
	// MD5 has Content.MD5 computed of what is written.
	MD5 bool
	// Traffic is that of the driver's connections; nil is not known.
	Traffic *Traffic
	// Log is told when the service stops answering, and when it is back; nil is
	// nobody.
	Log *slog.Logger
}

// Store is a blob.Store in a bucket. It is safe for concurrent use.
type Store struct {
	config  Config
	driver  Driver
	bucket  string
	prefix  string // "" or with a slash at its end
	spool   string
	md5     bool
	breaker *breaker.Breaker
	watch   *breaker.Watch
	traffic *Traffic
	log     *slog.Logger
	seen    atomic.Int64 // when the bucket was last known to be there, in Unix nanoseconds
}

var _ blob.Store = (*Store)(nil)

// New makes a store; it sends nothing.
func New(o Options) (*Store, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	s := &Store{config: o.Config, driver: o.Driver, bucket: o.Bucket, spool: o.Spool, md5: o.MD5, breaker: o.Breaker, traffic: o.Traffic, log: o.Log}
	if o.Prefix != "" {
		if !fs.ValidPath(o.Prefix) || o.Prefix == "." {
			return nil, fault.New(fault.Invalid, "the prefix %q can't be one of objects' names", o.Prefix)
		}
		s.prefix = o.Prefix + "/"
	}
	if s.breaker == nil {
		s.breaker = NewBreaker(o.Config, o.Bucket, slog.New(slog.DiscardHandler))
	}
	if s.traffic == nil {
		s.traffic = new(Traffic)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.watch = s.watchService()
	return s, nil
}

// NewBreaker makes the breaker of a destination, which logs one line when it opens
// and one when it closes.
func NewBreaker(c Config, destination string, log *slog.Logger) *breaker.Breaker {
	return breaker.New(breaker.Config{
		Failures: c.Failures, Pause: c.Pause,
		Opened: func(err error) {
			log.Warn("a destination fails again and again; it is left alone, and tried now and then", "destination", destination, "pause", c.Pause, "error", err)
		},
		Closed: func() { log.Info("a destination answers again", "destination", destination) },
	})
}

// Close frees connections.
func (s *Store) Close() error {
	s.watch.Close()
	return s.driver.Close()
}

// maxKeyBytes is the longest key of S3; the other services take as much or more.
const maxKeyBytes = 1024

// key checks a blob's name and gives that of its object.
func (s *Store) key(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return "", fault.New(fault.Invalid, "%q is not a blob's name", name)
	}
	key := s.prefix + name
	if len(key) > maxKeyBytes {
		return "", fault.New(fault.Invalid, "the object's name has %d bytes with its prefix; the limit is %d", len(key), maxKeyBytes)
	}
	return key, nil
}

// Stat implements blob.Store. Modified is in whole seconds of the service's
// clock.
func (s *Store) Stat(ctx context.Context, name string) (blob.Info, error) {
	key, err := s.key(name)
	if err != nil {
		return blob.Info{}, err
	}
	o, err := s.head(ctx, key)
	if err != nil {
		return blob.Info{}, s.missing(ctx, err)
	}
	return info(name, o), nil
}

func (s *Store) head(ctx context.Context, key string) (o Object, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		o, err = s.driver.Head(ctx, key)
		return err
	})
	return o, err
}

// info leaves out fractions of seconds, which not every answer of a service has.
func info(name string, o Object) blob.Info {
	return blob.Info{Name: name, Bytes: o.Bytes, Modified: o.Modified.Truncate(time.Second), SHA256: o.SHA256}
}

// seenFor is how long a bucket that has answered is not looked for again.
const seenFor = 5 * time.Second

// missing tells an object that is not there from a bucket that is not, as most
// services don't: a bucket that was removed or misspelt must not pass for one
// that has lost everything.
func (s *Store) missing(ctx context.Context, err error) error {
	if fault.Of(err) != fault.NotFound || time.Since(time.Unix(0, s.seen.Load())) < seenFor {
		return err
	}
	looked := s.call(ctx, func(ctx context.Context) error {
		_, _, err := s.driver.List(ctx, s.prefix, "", 1)
		return err
	})
	switch {
	case looked == nil:
		return err
	case fault.Of(looked) == fault.NotFound:
		return Gone(looked, s.bucket)
	}
	return looked
}

// Gone is the error of a bucket that is not there.
func Gone(err error, bucket string) error {
	return fault.Wrap(fault.Unavailable, &lasting{err}, "there is no bucket %s", bucket)
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	for after := ""; ; {
		var page []Object
		next := ""
		err := s.call(ctx, func(ctx context.Context) (err error) {
			page, next, err = s.driver.List(ctx, s.prefix+prefix, after, 0)
			return err
		})
		if fault.Of(err) == fault.NotFound {
			return Gone(err, s.bucket)
		}
		if err != nil {
			return err
		}
		for _, o := range page {
			name, ok := strings.CutPrefix(o.Key, s.prefix)
			if !ok || !fs.ValidPath(name) || name == "." {
				continue // not ours: what consoles make for an empty folder, say
			}
			if err := fn(info(name, o)); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}
