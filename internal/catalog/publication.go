package catalog

import (
	"context"
	"time"

	"safelight/internal/asset"
)

// Publication is one object at a destination: an image's source, or a preset's
// rendition of it. Image, Preset and Destination name it.
type Publication struct {
	Image       asset.ID
	Owner       string
	Preset      string // "" is the source
	Destination string
	Name        string // of the object
	Digest      asset.Digest
	Bytes       int64
	State       PublicationState
	Updated     time.Time // of the state; UTC, milliseconds
}

// PublicationState says how far a publication is.
type PublicationState uint8

// The states. The numbers are stored.
const (
	Writing   PublicationState = iota // the object may be there, in part or with other bytes
	Confirmed                         // its bytes were read back
	Withdrawn                         // it is to be removed, or was
	publicationStates
)

var publicationStateNames = [publicationStates]string{"writing", "confirmed", "withdrawn"}

// String is the state's name, as it stands in JSON.
func (s PublicationState) String() string {
	if s >= publicationStates {
		return "unknown"
	}
	return publicationStateNames[s]
}

// MarshalText writes the name.
func (s PublicationState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// NameWithdrawn is the code of an error: the name will be free soon.
const NameWithdrawn = "name-withdrawn"

// Publications keeps track of objects at destinations. A row is there before
// the first byte is written, and outlives the image: deleting or replacing an
// image withdraws its publications in the same transaction.
type Publications interface {
	// Intend notes, before any byte is written, that an object is going to be
	// written; State and Updated of p do not count. The image must exist
	// (fault.NotFound). A name that another object of the destination has is
	// fault.Conflict, and so is another name than the one that this publication
	// has; one that a withdrawn object has is fault.Unavailable with the code
	// NameWithdrawn, until that is forgotten. One that was there keeps its row and becomes
	// Writing, with the new digest.
	Intend(ctx context.Context, p Publication) error
	// Confirm notes that the bytes were read back and have p's digest. It is
	// false when the publication was withdrawn meanwhile, or the image
	// deleted: then it stays so, and the caller removes the object. When other
	// bytes were intended meanwhile it is fault.Conflict, and the object is
	// theirs.
	Confirm(ctx context.Context, p Publication) (bool, error)
	// PublicationsOf lists those of an image, by preset and destination.
	PublicationsOf(ctx context.Context, image asset.ID) ([]Publication, error)
	// Published lists confirmed publications of some bytes, of any owner.
	Published(ctx context.Context, d asset.Digest) ([]Publication, error)
	// Withdraw marks an image's publications as to be removed and lists them,
	// with those that were withdrawn before: all of them, or those of a preset,
	// a destination, or both where they are not nil.
	Withdraw(ctx context.Context, image asset.ID, preset, destination *string) ([]Publication, error)
}

// MaxUses bounds what Expiry lists.
const MaxUses = 1000

// Expiry tells who needs some bytes, of any owner; lists of MaxUses may be cut.
type Expiry interface {
	// ImagesOf lists the images with a source.
	ImagesOf(ctx context.Context, source asset.Digest) ([]asset.Image, error)
	// RenditionsWith lists the kept renditions that have these bytes.
	RenditionsWith(ctx context.Context, d asset.Digest) ([]Rendition, error)
}

// Reconciliation is what holding the catalog against destinations needs. It
// sees every owner.
type Reconciliation interface {
	// ListPublications pages in the order of image, preset and destination.
	ListPublications(ctx context.Context, q PublicationQuery) ([]Publication, error)
	// CountPublications is how many there are.
	CountPublications(ctx context.Context) (int, error)
	// ForgetPublication removes a row that is still withdrawn and has not
	// changed since p was read, and tells whether it did.
	ForgetPublication(ctx context.Context, p Publication) (bool, error)
	// UnknownNames picks those names of objects at a destination that no
	// publication has.
	UnknownNames(ctx context.Context, destination string, names []string) ([]string, error)
	// ImagesAfter lists images with ids above one, lowest first; the zero id
	// starts with the oldest. The limit is 1 to 1000.
	ImagesAfter(ctx context.Context, after asset.ID, limit int) ([]asset.Image, error)
}

// PublicationQuery selects publications.
type PublicationQuery struct {
	After  Publication // cursor: only those after its image, preset and destination
	State  *PublicationState
	Before time.Time // only those updated before it; zero is any
	Limit  int       // 1 to 1000
}
