// Package blob is the port for stored bytes: sources, renditions and published
// objects. Names are relative slash-separated paths. In the home store the
// caller derives them from digests, never from what a client said.
package blob

import (
	"context"
	"io"
	"time"
)

// Info says what is known of a stored blob.
type Info struct {
	Name     string
	Bytes    int64
	Modified time.Time // of the last Commit of this name
	// SHA256 is of the bytes, in hexadecimal, as it was noted when they were
	// written; "" is not known. List does not tell it.
	SHA256 string
}

// Store keeps blobs. Implementations are safe for concurrent use. Errors are
// classified: fault.NotFound for a missing name, fault.OutOfSpace when nothing
// more fits, fault.Unavailable for what may pass (too many open files, a
// server away), fault.Internal for the rest.
type Store interface {
	// Create starts a blob whose name is not known yet. The caller must end
	// it with Commit or Abort. Nothing is visible before Commit.
	Create(ctx context.Context) (Writer, error)
	// Open reads a blob. The reader stays valid when the name is written
	// again or deleted meanwhile.
	Open(ctx context.Context, name string) (Reader, error)
	// Stat answers without reading.
	Stat(ctx context.Context, name string) (Info, error)
	// Delete removes a blob unless it was committed (again) at or after
	// unless, so that a sweep can't take what an upload has just brought
	// back. It tells whether the blob is gone; a missing one is.
	Delete(ctx context.Context, name string, unless time.Time) (bool, error)
	// List calls fn for every blob whose name starts with prefix, in no
	// order, until fn fails; blobs that come or go meanwhile may be missed.
	List(ctx context.Context, prefix string, fn func(Info) error) error
}

// Writer takes one blob's bytes. It is for one goroutine at a time.
type Writer interface {
	io.Writer
	// ReadAt gives back what was written, before Commit too (a header is
	// looked at before the blob is kept).
	io.ReaderAt
	// Commit makes the blob durable under name, replacing one of that name,
	// and returns only when it would survive a power loss. Concurrent
	// commits share the cost. After an error the blob is not there (or, for
	// a name that existed, the earlier bytes are), and Abort frees the rest.
	Commit(ctx context.Context, name string) error
	// Abort drops what was written; after Commit it does nothing.
	Abort()
}

// Reader reads a stored blob; ReadAt may be called concurrently.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
	Info() Info
}

// SourceName is where a source lies: sources/ab/cd/<sha256 in hexadecimal>.
func SourceName(hexDigest string) string { return SourcePrefix + fan(hexDigest) }

// RenditionName is where a preset's rendition lies:
// renditions/ab/cd/<sha256 in hexadecimal>.
func RenditionName(hexDigest string) string { return RenditionPrefix + fan(hexDigest) }

// OutputName is where lies what a worker has uploaded for a task:
// outputs/ab/cd/<sha256>.
func OutputName(hexDigest string) string { return OutputPrefix + fan(hexDigest) }

// RecompressedName is where a source lies in a smaller form, from which its very
// bytes can be restored: recompressed/ab/cd/<sha256 of the source>. The file's
// own bytes have another digest, so it is opened by way of Home.Store.
func RecompressedName(hexDigest string) string { return RecompressedPrefix + fan(hexDigest) }

// What the names of sources and of renditions begin with in the home store.
const (
	SourcePrefix       = "sources/"
	RecompressedPrefix = "recompressed/"
	RenditionPrefix    = "renditions/"
	OutputPrefix       = "outputs/"
)

func fan(hexDigest string) string {
	return hexDigest[:2] + "/" + hexDigest[2:4] + "/" + hexDigest
}
