// Package catalog is the port for what is known about images: rows, keys,
// tags, and which sources are in use. Tasks are committed through it together
// with the images they belong to.
package catalog

import (
	"context"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// Catalog keeps images and keys. Implementations are safe for concurrent use.
// Nothing of one owner is ever seen through another. A missing image is
// fault.NotFound; a full disk is fault.OutOfSpace; what may pass is
// fault.Unavailable.
type Catalog interface {
	// Commit carries out a change in one transaction and returns when it is
	// durable: all of it or nothing. Concurrent commits share transactions,
	// and one that fails never fails another. Results follow the order of
	// change.Images.
	Commit(ctx context.Context, change Change) ([]Result, error)
	// Image finds an image by its id.
	Image(ctx context.Context, owner string, id asset.ID) (asset.Image, error)
	// Resolve finds the image that a key points at.
	Resolve(ctx context.Context, owner, key string) (asset.Image, error)
	// List pages through an owner's images, newest first.
	List(ctx context.Context, q Query) (Page, error)
	// Secret is a stored secret of this installation by name; the first call
	// stores what fresh makes, and every node gets the same.
	Secret(ctx context.Context, name string, fresh func() []byte) ([]byte, error)
	// Ping tells whether the catalog answers.
	Ping(ctx context.Context) error
}

// Change is what one transaction does. Deletes come before Images.
type Change struct {
	Deletes []Delete
	Images  []NewImage
}

// Delete removes an image with its key and tags; its source is released when
// no other image uses it. A missing image is fault.NotFound.
type Delete struct {
	Owner string
	ID    asset.ID
	Tasks []task.New // submitted with it, about this image
}

// NewImage is an image to store under the first of Keys that is free.
type NewImage struct {
	Image asset.Image
	Keys  []string // in order of preference; at least one
	// Rule says what happens when the key exists; with Replace and Refuse
	// only Keys[0] is used.
	Rule KeyRule
	// Replay makes a repeated request safe; the zero value is none.
	Replay Replay
	// Tasks are submitted with the image, unless it is a replay; Farewell are
	// submitted about the image that loses the key, if one does. Owner and
	// Image of both are filled in.
	Tasks, Farewell []task.New
}

// KeyRule says what to do with a key that exists.
type KeyRule uint8

// The rules.
const (
	TakeFree KeyRule = iota // go on to the next candidate; fault.Conflict when all are taken
	Replace                 // point the key at the new image and delete the old one
	Refuse                  // fault.Precondition
)

// Replay identifies one file of a request that a client may send again. The
// same token and ordinal with other bytes is fault.Unprocessable; with the same
// bytes, once the image is deleted or replaced, fault.Conflict.
type Replay struct {
	Token   string // the Idempotency-Key; "" is none
	Ordinal int    // which file of the request
}

// Result is what became of a NewImage.
type Result struct {
	Image    asset.Image // as stored, with its Key
	Replaced asset.Image // the image that lost the key; zero ID where none did
	Replayed bool        // stored by an earlier request: Image is that one
	Tasks    []task.Task // as stored, in the order of NewImage.Tasks
}

// Query selects images of an owner.
type Query struct {
	Owner  string
	Prefix string   // of the key; "" is every image, with or without a key
	Tag    string   // exact; "" is any
	Before asset.ID // cursor: only ids below it; the zero value starts at the newest
	Limit  int      // 1 to 1000
}

// Page is a part of a listing. More tells that another page may follow, with
// the last image's id as its cursor.
type Page struct {
	Images []asset.Image
	More   bool
}

// Janitor is what sweeping needs of a catalog.
type Janitor interface {
	// Released lists sources that no image has used since a time.
	Released(ctx context.Context, before time.Time, limit int) ([]asset.Digest, error)
	// Forget removes a source's row if it is still unused and was released
	// before the time, and tells whether it did.
	Forget(ctx context.Context, source asset.Digest, before time.Time) (bool, error)
	// Unknown picks those digests that have no row.
	Unknown(ctx context.Context, sources []asset.Digest) ([]asset.Digest, error)
	// Used tells whether any image of any owner has this source.
	Used(ctx context.Context, source asset.Digest) (bool, error)
	// UnknownRenditions picks those digests that no kept rendition has.
	UnknownRenditions(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error)
	// DropReplays forgets idempotency tokens older than a time.
	DropReplays(ctx context.Context, before time.Time) (int, error)
}

// Census counts.
type Census interface {
	// CountImages is how many images an owner has.
	CountImages(ctx context.Context, owner string) (int, error)
}
