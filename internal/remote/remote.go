// Package remote takes images in from other servers by their URL, and keeps
// what signed URLs show: fetched once, then served from the store, and asked
// about again when it has become old.
package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/url"
	"path"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/ingest"
	"safelight/internal/purge"
)

// Gone is the code of the error that tells that the origin has no such file,
// rather than that it failed.
const Gone = "origin-gone"

// Validators are what an origin gave to ask by whether a file has changed.
type Validators struct {
	ETag         string
	LastModified string
}

// Fetched is an origin's answer.
type Fetched struct {
	Body       io.ReadCloser // must be closed; empty when Unchanged
	Unchanged  bool          // it is as the validators said
	Validators Validators
}

// fetcher gets files from origins. Clean checks a URL and gives its one
// spelling; Fetch asks for it, with validators only for what has changed.
type fetcher interface {
	Clean(rawURL string) (string, error)
	Fetch(ctx context.Context, url string, since Validators) (*Fetched, error)
}

const (
	storeTime = 2 * time.Minute // for decoding and committing what has arrived
	staleWait = 3 * time.Second // that a request waits for news of what is stored before it gets that
)

// Deps are the parts that remote images need.
type Deps struct {
	Origin  fetcher
	Ingest  *ingest.Service
	Purge   *purge.Service
	Catalog catalog.Catalog
	Signer  *Signer
	Log     *slog.Logger
}

// Service takes images in by URL. It is safe for concurrent use.
type Service struct {
	Deps
	config  Config
	flights singleflight.Group
	notes   notes
	stale   atomic.Int64
	now     func() time.Time
}

// New makes a service over its parts.
func New(config Config, deps Deps) *Service {
	return &Service{Deps: deps, config: config, now: time.Now}
}

// Stale counts the answers that were given although the origin should have
// been asked again, and failed.
func (s *Service) Stale() int64 { return s.stale.Load() }

// Add fetches a URL and stores it as an upload of that file. Its name, where
// file has none, is the last segment of the URL's path.
func (s *Service) Add(ctx context.Context, rawURL string, file ingest.File) (catalog.Result, error) {
	clean, err := s.Origin.Clean(rawURL)
	if err != nil {
		return catalog.Result{}, err
	}
	if file.Name == "" {
		file.Name = nameOf(clean)
	}
	fetched, err := s.Origin.Fetch(ctx, clean, Validators{})
	if err != nil {
		return catalog.Result{}, err
	}
	spooled, err := s.Ingest.Receive(ctx, file, fetched.Body)
	_ = fetched.Body.Close()
	if err != nil {
		return catalog.Result{}, err
	}
	return s.store(ctx, spooled)
}

// store commits a file that has arrived, even if who asked for it has gone.
func (s *Service) store(ctx context.Context, spooled *ingest.Spooled) (catalog.Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	stored, err := s.Ingest.Store(ctx, spooled)
	if err == nil && stored.Replaced.ID != (asset.ID{}) {
		s.Purge.Gone(ctx, stored.Replaced)
	}
	return stored, err
}

func nameOf(clean string) string {
	u, err := url.Parse(clean)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

// Key is the key under which a URL, in its one spelling, is stored.
func Key(clean string) string {
	digest := sha256.Sum256([]byte(clean))
	return "remote/" + hex.EncodeToString(digest[:])
}

// Name checks a URL without fetching it, and gives its one spelling and the key
// that it is stored under.
func (s *Service) Name(rawURL string) (clean, key string, err error) {
	if clean, err = s.Origin.Clean(rawURL); err != nil {
		return "", "", err
	}
	return clean, Key(clean), nil
}

// Image is the image that a URL, as Name gave it, shows: as stored, if that is
// not too old, and otherwise fetched, once for all who ask at the same time.
// When the origin fails, what is stored is shown still.
func (s *Service) Image(ctx context.Context, owner, clean string) (asset.Image, error) {
	key := Key(clean)
	img, err := s.Catalog.Resolve(ctx, owner, key)
	if err != nil && fault.Of(err) != fault.NotFound {
		return asset.Image{}, err
	}
	stored, name := err == nil, owner+"\x00"+key
	known := s.notes.get(name)
	if stored && s.fresh(img, known) {
		return img, nil
	}
	if known.err != nil && s.now().Before(known.until) {
		return s.orStale(img, stored, known.err)
	}
	done := s.flights.DoChan(name, func() (any, error) {
		return s.refresh(context.WithoutCancel(ctx), owner, name, clean)
	})
	var late <-chan time.Time
	if stored {
		timer := time.NewTimer(staleWait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case r := <-done:
		if r.Err != nil {
			return s.orStale(img, stored, r.Err)
		}
		return r.Val.(asset.Image), nil
	case <-late:
		return s.orStale(img, stored, fault.New(fault.Timeout, "the origin takes its time"))
	case <-ctx.Done():
		return asset.Image{}, fault.Wrap(fault.Canceled, ctx.Err(), "the client went away")
	}
}

// fresh tells whether a stored image need not be asked about.
func (s *Service) fresh(img asset.Image, known note) bool {
	checked := img.Created
	if known.image == img.ID {
		checked = known.checked
	}
	return s.config.TTL == 0 || s.now().Sub(checked) < s.config.TTL
}

// orStale is what is stored, unless the origin says that there is no such file.
func (s *Service) orStale(img asset.Image, stored bool, err error) (asset.Image, error) {
	if e := fault.As(err); !stored || e != nil && e.Code == Gone {
		return asset.Image{}, err
	}
	s.stale.Add(1)
	return img, nil
}

// refresh fetches a URL, or finds that it is as it was, and remembers how that
// went. It is called once at a time for a name.
func (s *Service) refresh(ctx context.Context, owner, name, clean string) (asset.Image, error) {
	key := Key(clean)
	img, err := s.Catalog.Resolve(ctx, owner, key)
	if err != nil && fault.Of(err) != fault.NotFound {
		return asset.Image{}, err
	}
	known := s.notes.get(name)
	if err == nil && s.fresh(img, known) { // another flight has landed meanwhile
		return img, nil
	}
	stored := err == nil
	var since Validators
	if stored && known.image == img.ID {
		since = known.validators
	}
	now, validators, err := s.fetch(ctx, owner, key, clean, img, since)
	if err != nil {
		if remembered(err) {
			known.err, known.until = err, s.now().Add(s.config.NegativeTTL)
			s.notes.set(name, known)
		}
		if stored {
			s.Log.Warn("a remote image could not be asked about again", "key", key, "owner", owner, "error", err)
		}
		return asset.Image{}, err
	}
	s.notes.set(name, note{image: now.ID, checked: s.now(), validators: validators})
	return now, nil
}

// remembered tells errors that come from the origin or the file, and not from us.
func remembered(err error) bool {
	switch fault.Of(err) {
	case fault.Upstream, fault.Timeout, fault.Denied, fault.Invalid, fault.TooLarge, fault.Unsupported, fault.Unprocessable:
		return true
	}
	return false
}

// fetch asks the origin, and stores what it sends unless that is what is stored
// already. before is the zero value where nothing is.
func (s *Service) fetch(ctx context.Context, owner, key, clean string, before asset.Image, since Validators) (asset.Image, Validators, error) {
	fetched, err := s.Origin.Fetch(ctx, clean, since)
	if err != nil {
		return asset.Image{}, Validators{}, err
	}
	if fetched.Unchanged {
		_ = fetched.Body.Close()
		return before, updated(since, fetched.Validators), nil
	}
	spooled, err := s.Ingest.Receive(ctx, ingest.File{Owner: owner, Name: nameOf(clean), Key: key, Rule: catalog.Replace}, fetched.Body)
	_ = fetched.Body.Close()
	if err != nil {
		return asset.Image{}, Validators{}, err
	}
	if before.ID != (asset.ID{}) && spooled.Digest == before.Source.Digest {
		spooled.Discard()
		return before, fetched.Validators, nil
	}
	stored, err := s.store(ctx, spooled)
	return stored.Image, fetched.Validators, err
}

// updated are validators after an answer that may have left some out.
func updated(since, now Validators) Validators {
	if now.ETag == "" {
		now.ETag = since.ETag
	}
	if now.LastModified == "" {
		now.LastModified = since.LastModified
	}
	return now
}
