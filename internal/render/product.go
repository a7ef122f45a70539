package render

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

// product is a finished rendition on its way to those who waited for it: small
// ones as bytes, large ones as a file of which everybody gets a handle of
// their own.
type product struct {
	meta asset.Rendition
	data []byte
	file *os.File
	from Status

	shared <-chan struct{} // closed when other nodes find it, or will not; nil is closed
}

// newFileProduct takes the file over; it is closed when nobody can ask for a
// handle any more.
func newFileProduct(meta asset.Rendition, f *os.File) *product {
	p := &product{meta: meta, file: f}
	runtime.AddCleanup(p, func(f *os.File) { _ = f.Close() }, f)
	return p
}

func (p *product) entry() (*cache.Entry, error) {
	if p.file == nil {
		return &cache.Entry{Meta: p.meta, Data: p.data}, nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", p.file.Fd()))
	runtime.KeepAlive(p)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the rendition could not be opened; try again")
	}
	return &cache.Entry{Meta: p.meta, File: f}, nil
}

// failures remembers for a short time which variants can't be made, so that a
// picture that costs a codec process its whole deadline can't be asked for
// again and again.
type failures struct {
	mu  sync.Mutex
	all map[cache.Key]failure
}

type failure struct {
	err   error
	until time.Time
}

const (
	failureKept = 30 * time.Second
	maxFailures = 10_000
)

func newFailures() *failures { return &failures{all: make(map[cache.Key]failure)} }

// note remembers an error that the same request would meet again.
func (f *failures) note(key cache.Key, err error) {
	if k := fault.Of(err); k != fault.Unprocessable && k != fault.Timeout {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) >= maxFailures {
		clear(f.all)
	}
	f.all[key] = failure{err, time.Now().Add(failureKept)}
}

func (f *failures) recall(key cache.Key) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.all[key]
	if !ok {
		return nil
	}
	if time.Now().After(known.until) {
		delete(f.all, key)
		return nil
	}
	return known.err
}
