package objectblob

import (
	"context"
	"io"
	"time"
)

// Object is what a service tells of an object.
type Object struct {
	Key      string
	Bytes    int64
	Modified time.Time // by the service's clock, maybe in whole seconds
	// Version is what Get and Delete can be tied to: an entity tag or a
	// generation; "" is none.
	Version string
	// SHA256 is the digest that Put has noted, in hexadecimal; "" is none. List
	// does not tell it, nor does Get of some services.
	SHA256 string
	// MD5 is what the service itself has computed over the bytes; nil is nothing.
	MD5 []byte
	// Asked is the service's clock when it answered; zero is not known.
	Asked time.Time
}

// Content says what an upload has.
type Content struct {
	Bytes  int64
	Type   string // media type
	SHA256 string // in hexadecimal
	MD5    []byte // nil unless Options.MD5
}

// Driver is one bucket of a service. It is safe for concurrent use. It retries
// within the bounds of its configuration, and its errors are classified (see
// Classify): fault.NotFound for a missing object, and for a missing bucket where
// the service does not tell which is missing; fault.Precondition for an object
// that has not the version; fault.Unavailable for what may pass, and for missing
// rights.
type Driver interface {
	// Put writes an object with a checksum that the service checks, or leaves
	// what has the key as it was. An object is seen whole or not at all.
	Put(ctx context.Context, key string, body io.ReadSeeker, c Content) error
	// Get reads length bytes from offset, or to the end where length is negative,
	// of the version given, or of any where it is "". The offset is inside the
	// object, or 0. It is not read any more once ctx has ended.
	Get(ctx context.Context, key string, offset, length int64, version string) (io.ReadCloser, Object, error)
	// Head tells of an object.
	Head(ctx context.Context, key string) (Object, error)
	// Delete removes an object if it has the version, where the service can tell,
	// or any where it is "". A missing one is no error.
	Delete(ctx context.Context, key, version string) error
	// List gives a page of at most limit objects (0 is as many as the service
	// likes) whose keys begin with prefix, after the page that gave after, and
	// what the next page comes after; "" is the end.
	List(ctx context.Context, prefix, after string, limit int) (page []Object, next string, err error)
	Close() error
}
