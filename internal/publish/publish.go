package publish

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// content is what is to be published of an image.
type content struct {
	digest asset.Digest
	bytes  int64
	format format.Format
	home   string // its name in the home store
}

// Publish puts an image's source (preset "") or the kept rendition of a preset
// at a destination, reads it back, and confirms it. What is confirmed already
// and has the right size is left as it is. Sources go out byte for byte, with
// their location data: a destination is an archive of the operator's.
//
// An image, rendition or destination that is not there is fault.NotFound or
// fault.Unavailable, and so is an image that was deleted meanwhile: then the
// object is removed again. A name that another object has is fault.Conflict.
func (s *Service) Publish(ctx context.Context, img asset.Image, preset, destination string) (catalog.Publication, error) {
	p := catalog.Publication{Image: img.ID, Owner: img.Owner, Preset: preset, Destination: destination}
	d, err := s.destination(destination)
	if err != nil {
		return p, err
	}
	if d.foreign {
		return p, fault.New(fault.Invalid, "%s is a place of somebody else's, where nothing is published", destination)
	}
	leave, err := s.turns.take(ctx, p)
	if err != nil {
		return p, err
	}
	defer leave()
	c, err := s.content(ctx, img, preset)
	if err != nil {
		return p, err
	}
	row, known, err := s.aim(ctx, img, d, c, &p)
	if err != nil {
		return p, err
	}
	if known && row.State == catalog.Confirmed && row.Digest == p.Digest && row.Name == p.Name {
		info, err := d.Stat(ctx, p.Name)
		if err == nil && info.Bytes == p.Bytes {
			return row, nil
		}
		if err != nil && fault.Of(err) != fault.NotFound {
			return p, err
		}
	}
	// Opened before anything changes: when the only copy of the bytes is the
	// object itself, it stays confirmed.
	r, err := s.home.Open(ctx, c.home)
	if err != nil {
		return p, lost(err)
	}
	defer r.Close()
	if known && row.Name != p.Name {
		if err := s.discard(ctx, d, row); err != nil {
			return p, err
		}
	}
	// What is confirmed with these bytes stays so while they are written again:
	// the object may be all there is of them.
	if !known || row.State != catalog.Confirmed || row.Digest != p.Digest || row.Name != p.Name {
		if err := s.records.Intend(ctx, p); err != nil {
			return p, err
		}
	}
	return s.write(ctx, d, p, r)
}

// aim sets what a publication's object is to be and its name, and finds the row
// that it has already.
func (s *Service) aim(ctx context.Context, img asset.Image, d destination, c content, p *catalog.Publication) (row catalog.Publication, known bool, err error) {
	p.Digest, p.Bytes, p.Name = c.digest, c.bytes, d.template.name(img, p.Preset, c.format)
	row, known, err = s.row(ctx, *p)
	if known && path.Ext(row.Name) == path.Ext(p.Name) {
		p.Name = row.Name // whatever the template says by now
	}
	return row, known, err
}

// content finds what to publish.
func (s *Service) content(ctx context.Context, img asset.Image, preset string) (content, error) {
	if preset == "" {
		src := img.Source
		return content{src.Digest, src.Bytes, src.Header.Format, blob.SourceName(src.Digest.String())}, nil
	}
	r, err := s.records.RenditionOf(ctx, img.Owner, img.ID, preset)
	if err != nil {
		return content{}, err
	}
	return content{r.Digest, r.Bytes, r.Format, blob.RenditionName(r.Digest.String())}, nil
}

// ContentLost is the code of an error: the bytes to publish are neither at home
// nor can they be fetched from a destination now.
const ContentLost = "content-lost"

// lost tells that bytes which a row promises can't be had.
func lost(err error) error {
	kind, message := fault.Of(err), "the bytes to publish can't be fetched from where they lie"
	if kind == fault.NotFound {
		kind, message = fault.Internal, "the bytes to publish are missing from the store"
	}
	return &fault.Error{Kind: kind, Code: ContentLost, Message: message, Cause: err}
}

// discard takes away an object whose successor has another name, as the format
// of its rendition has changed.
func (s *Service) discard(ctx context.Context, d destination, row catalog.Publication) error {
	withdrawn, err := s.records.Withdraw(ctx, row.Image, &row.Preset, &row.Destination)
	if err != nil {
		return err
	}
	for _, p := range withdrawn {
		if _, err := d.Delete(ctx, p.Name, forced()); err != nil {
			return err
		}
		if _, err := s.records.ForgetPublication(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// forced is a time that makes Delete spare nothing: the caller knows that the
// object is its own.
func forced() time.Time { return time.Now().Add(24 * time.Hour) }

// write carries out the steps of a publication whose row is there, each of which
// leaves a state that Reconcile understands.
func (s *Service) write(ctx context.Context, d destination, p catalog.Publication, r blob.Reader) (catalog.Publication, error) {
	if err := send(ctx, d, p, r); err != nil {
		return p, err
	}
	if err := verify(ctx, d, p); err != nil {
		return p, err
	}
	return s.confirm(ctx, d, p)
}

// confirm notes that an object was read back, or removes it where it is not
// wanted any more.
func (s *Service) confirm(ctx context.Context, d destination, p catalog.Publication) (catalog.Publication, error) {
	ok, err := s.records.Confirm(ctx, p)
	if err != nil {
		return p, err
	}
	if !ok {
		// Also when ctx has just ended: nobody else knows of the object as well.
		if _, err := d.Delete(context.WithoutCancel(ctx), p.Name, forced()); err != nil {
			s.log.Warn("the object of a deleted image stays until the next reconciliation", "destination", p.Destination, "object", p.Name, "error", err)
		}
		return p, fault.New(fault.NotFound, "the image was deleted or withdrawn meanwhile")
	}
	p.State, p.Updated = catalog.Confirmed, time.Now().UTC().Truncate(time.Millisecond)
	return p, nil
}

// send writes an object. Bytes that are not those which were promised never
// replace what has the name.
func send(ctx context.Context, d destination, p catalog.Publication, r io.Reader) error {
	w, err := d.Create(ctx)
	if err != nil {
		return atDestination(err, "written to")
	}
	defer w.Abort()
	h := sha256.New()
	n, err := copyAll(ctx, io.MultiWriter(w, h), r)
	if err != nil {
		return atDestination(err, "written to")
	}
	if got := asset.Digest(h.Sum(nil)); got != p.Digest || n != p.Bytes {
		return fault.Wrap(fault.Internal, fmt.Errorf("%d bytes with the SHA-256 %s instead of %d with %s", n, got, p.Bytes, p.Digest), "the stored bytes are damaged")
	}
	return atDestination(w.Commit(ctx, p.Name), "written to")
}

// verify reads a whole object back and holds it against its publication.
func verify(ctx context.Context, d destination, p catalog.Publication) error {
	r, err := d.Open(ctx, p.Name)
	if err != nil {
		return atDestination(err, "read from")
	}
	defer r.Close()
	return hashTo(ctx, io.Discard, r, p)
}

// hashTo copies an object's bytes and refuses other ones than its
// publication's.
func hashTo(ctx context.Context, w io.Writer, r io.Reader, p catalog.Publication) error {
	h := sha256.New()
	n, err := copyAll(ctx, io.MultiWriter(w, h), io.LimitReader(r, p.Bytes+1))
	if err != nil {
		return atDestination(err, "read from")
	}
	if got := asset.Digest(h.Sum(nil)); got != p.Digest || n != p.Bytes {
		return fault.Wrap(fault.Internal, &damaged{p, n, got}, "a published object does not have the bytes that were written")
	}
	return nil
}

// damaged says how an object differs from its publication.
type damaged struct {
	p   catalog.Publication
	n   int64
	got asset.Digest
}

func (e *damaged) Error() string {
	return fmt.Sprintf("%s at %s has %d bytes or more with the SHA-256 %s instead of %d with %s", e.p.Name, e.p.Destination, e.n, e.got, e.p.Bytes, e.p.Digest)
}

// atDestination says where an error came from. What nobody has classified may
// well work later, and so may an object that is missing: it is not the image
// that is not found.
func atDestination(err error, verb string) error {
	if err == nil {
		return nil
	}
	kind := fault.Of(err)
	if fault.As(err) == nil || kind == fault.NotFound {
		if kind == fault.NotFound {
			return fault.Wrap(fault.Unavailable, err, "the object is not at the destination")
		}
		kind = fault.Unavailable
	}
	return fault.Wrap(kind, err, "the destination could not be %s", verb)
}

// copyAll copies until the end or until ctx ends.
func copyAll(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	return io.Copy(w, reader(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, canceled(ctx)
		}
		return r.Read(p)
	}))
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }
