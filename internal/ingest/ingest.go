// Package ingest takes files in: streams them to the store's temporary space
// while hashing, looks at their headers in Go, has a codec process prove that
// they can be decoded, and commits bytes, row and key so that what is
// acknowledged is never lost.
//
// The work has two halves. Receive reads one body and is as fast as the client;
// Store does the rest, and many may run at once, so that they share fsyncs and
// transactions. What Receive returned must go to Store or be discarded.
package ingest

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/task"
)

// inspector has a codec process decode a file once and tell what it saw.
type inspector interface {
	Inspect(ctx context.Context, job plan.Job, source *os.File) (plan.Result, error)
}

// follower knows what follows on a new image, and on one that is gone: tasks
// that are committed with the change.
type follower interface {
	ForNew(img asset.Image) []task.New
	Farewell() []task.New
}

// Service takes files in. It is safe for concurrent use.
type Service struct {
	config  Config
	store   *blob.Home
	catalog catalog.Catalog
	codec   inspector
	mint    *asset.Mint
	follow  follower
	opened  chan struct{} // has room for the files that may be open for decoding
}

// New makes a service over its parts; follow may be nil.
func New(config Config, store *blob.Home, cat catalog.Catalog, codec inspector, mint *asset.Mint, follow follower) *Service {
	return &Service{config: config, store: store, catalog: cat, codec: codec, mint: mint, follow: follow,
		opened: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
}

// Config is what the service was made with.
func (s *Service) Config() Config { return s.config }

// File says what a client claims of a file, and where it wants it.
type File struct {
	Owner       string
	Name        string // as sent
	ContentType string // as sent
	Key         string // exact key, already checked; "" takes one from the name
	Prefix      string // before a key that is taken from the name; a slash is added where it ends in none
	Rule        catalog.KeyRule
	Tags        []string
	Category    string
	Replay      catalog.Replay
	Want        *asset.Digest // refuse other bytes
}

// Spooled is a file whose bytes have arrived but are not stored yet.
type Spooled struct {
	File   File
	Bytes  int64
	Digest asset.Digest
	w      blob.Writer
}

// Discard drops a spooled file; after Store it does nothing.
func (f *Spooled) Discard() { f.w.Abort() }

// Receive streams a body to temporary space. A body over the limit is
// fault.TooLarge, an empty one fault.Unsupported, and one that breaks off or comes
// with a prefix that can't be one fault.Invalid; nothing is left behind then.
func (s *Service) Receive(ctx context.Context, file File, body io.Reader) (*Spooled, error) {
	if file.Prefix != "" && !strings.HasSuffix(file.Prefix, "/") {
		file.Prefix += "/"
	}
	if err := checkPrefix(file.Prefix); err != nil {
		return nil, err
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	w, err := s.store.Create(ctx)
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	n, err := s.copy(ctx, w, digest, body)
	if err == nil && n == 0 {
		err = fault.New(fault.Unsupported, "the file is empty")
	}
	spooled := &Spooled{File: file, Bytes: n, Digest: asset.Digest(digest.Sum(nil)), w: w}
	if err == nil && file.Want != nil && *file.Want != spooled.Digest {
		err = fault.New(fault.Invalid, "the bytes that arrived have the SHA-256 %s, not the %s that was promised", spooled.Digest, *file.Want)
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return spooled, nil
}

// room refuses uploads before the disk is quite full: a database on a full disk
// can't even delete.
func (s *Service) room() error {
	store, ok := s.store.Store.(blob.Roomer)
	if !ok || s.config.ReserveBytes == 0 {
		return nil
	}
	free, err := store.FreeBytes()
	if err != nil || free >= s.config.ReserveBytes {
		return nil // what can't be told is left to the write
	}
	return fault.Limit(fault.OutOfSpace, "ingest.reserve_bytes", s.config.ReserveBytes, free,
		"the store has %d bytes left, and %d are kept in reserve; nothing more is taken in until there is room", free, s.config.ReserveBytes)
}

// copyBytes is the buffer of one Receive.
const copyBytes = 64 << 10

// copy moves a body through the hash into the writer. Errors of the reader are
// the client's, those of the writer ours.
func (s *Service) copy(ctx context.Context, w io.Writer, digest hash.Hash, body io.Reader) (int64, error) {
	buf := getBuffer()
	defer putBuffer(buf)
	var n int64
	for {
		read, err := fill(body, *buf)
		n += int64(read)
		if n > s.config.MaxFileBytes {
			return n, s.config.TooLarge(n)
		}
		if read > 0 {
			digest.Write((*buf)[:read])
			if _, werr := w.Write((*buf)[:read]); werr != nil {
				return n, werr
			}
		}
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil && fault.As(err) != nil:
			return n, err
		case err != nil:
			return n, fault.Wrap(fault.Invalid, err, "the body broke off after %d bytes", n)
		case ctx.Err() != nil:
			return n, fault.Wrap(fault.Canceled, ctx.Err(), "the client went away")
		}
	}
}

// fill reads until the buffer is full or the body ends, and gives the body's
// own error: io.EOF is a clean end, io.ErrUnexpectedEOF is the transport's word
// that it broke off (io.ReadFull makes no difference between them).
func fill(body io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		read, err := body.Read(buf[n:])
		n += read
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Store looks at a received file, proves that it can be read, and commits it.
// When it returns without error the image survives a power loss. The spooled
// file is used up either way.
func (s *Service) Store(ctx context.Context, f *Spooled) (catalog.Result, error) {
	defer f.w.Abort()
	header, err := s.examine(f)
	if err != nil {
		return catalog.Result{}, err
	}
	looks, err := s.verify(ctx, f, &header)
	if err != nil {
		return catalog.Result{}, err
	}
	source := asset.Source{Digest: f.Digest, Bytes: f.Bytes, Header: header}
	now := time.Now().UTC().Truncate(time.Millisecond)
	img := asset.Image{
		ID: s.mint.New(now), Owner: f.File.Owner, Name: asset.CleanName(f.File.Name),
		Category: f.File.Category, Tags: f.File.Tags, Created: now, Source: source, Looks: looks,
	}
	name := blob.SourceName(f.Digest.String())
	defer s.store.Keep(name)()
	if err := f.w.Commit(ctx, name); err != nil {
		return catalog.Result{}, err
	}
	s.store.Trust(name)
	stored := catalog.NewImage{Image: img, Keys: s.keys(f.File, img), Rule: f.File.Rule, Replay: f.File.Replay}
	if s.follow != nil {
		stored.Tasks = s.follow.ForNew(img)
		if f.File.Rule == catalog.Replace {
			stored.Farewell = s.follow.Farewell()
		}
	}
	results, err := s.catalog.Commit(ctx, catalog.Change{Images: []catalog.NewImage{stored}})
	if err != nil {
		return catalog.Result{}, err // the bytes are an orphan now; the sweep takes it
	}
	// Keep holds off our own sweep. Should another process have taken the
	// bytes between the two commits, that must not go unnoticed.
	if _, err := s.store.Stat(ctx, name); err != nil {
		return catalog.Result{}, fault.Wrap(fault.Unavailable, err, "the file could not be kept; send it again")
	}
	return results[0], nil
}

// examine probes the header and holds it against the limits.
func (s *Service) examine(f *Spooled) (format.Header, error) {
	header, err := format.ProbeSource(f.w, f.Bytes)
	if err != nil {
		return header, err
	}
	if s.config.Strict {
		if err := contradiction(f.File, header.Format); err != nil {
			return header, err
		}
	}
	return header, s.config.check(header)
}

// verify decodes the file once, unless only headers are to be read.
func (s *Service) verify(ctx context.Context, f *Spooled, header *format.Header) (asset.Looks, error) {
	if s.config.Verify == VerifyHeader {
		return asset.Looks{}, nil
	}
	filer, ok := f.w.(blob.Filer)
	if !ok {
		return asset.Looks{}, fault.New(fault.Internal, "the store's temporary space is not local")
	}
	select { // an open file may lie in memory
	case s.opened <- struct{}{}:
		defer func() { <-s.opened }()
	case <-ctx.Done():
		return asset.Looks{}, fault.Wrap(fault.Canceled, ctx.Err(), "the client went away")
	}
	file, err := filer.File()
	if err != nil {
		return asset.Looks{}, fault.Wrap(fault.Unavailable, err, "the file could not be opened for decoding; try again")
	}
	defer file.Close()
	seen, err := s.codec.Inspect(ctx, plan.Inspect(*header), file)
	if err != nil {
		return asset.Looks{}, err
	}
	adopt(header, seen)
	return asset.Looks{Verified: true, ThumbHash: seen.ThumbHash, BlurHash: seen.BlurHash, PHash: seen.PHash}, nil
}

// adopt lets what a decoder saw stand over what the header said: sizes are
// planned with, so they must be true.
func adopt(h *format.Header, seen plan.Result) {
	if seen.Width > 0 && seen.Height > 0 {
		h.Width, h.Height = seen.Width, seen.Height
		h.Width, h.Height = h.Upright() // seen is upright; the header is as stored
	}
}

// keys are the keys that the image may get.
func (s *Service) keys(f File, img asset.Image) []string {
	switch {
	case f.Key != "":
		return []string{f.Key}
	case s.config.Keys == "id":
		return []string{f.Prefix + img.ID.String() + "." + img.Source.Header.Format.Ext()}
	}
	return asset.KeyCandidates(f.Prefix, img.Name, img.Source, img.ID)
}
