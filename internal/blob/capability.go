package blob

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// What some stores, readers and writers can do beyond what all can.

// Filer is a Reader or Writer that lies in a local file. File opens it afresh:
// the file has its own offset and outlives the reader; the caller closes it.
type Filer interface {
	File() (*os.File, error)
}

// Copied is a Filer whose files are copies, made when they are asked for: who needs
// no file had better read from the Filer itself.
type Copied interface {
	Filer
	Copied()
}

// Digester is a Reader or Writer that knows the SHA-256 of its bytes, since this
// process has had all of them in its hands: of a Writer, those written so far.
// known is false where it has not.
type Digester interface {
	Digest() (sum [sha256.Size]byte, known bool)
}

// Sweeper is a Store with temporary files to clear away: those of this node
// that no Writer holds, and those of others older than olderThan.
type Sweeper interface {
	SweepTemp(ctx context.Context, olderThan time.Duration) (removed int, err error)
}

// Roomer is a Store that knows how much room is left for it, in bytes.
type Roomer interface {
	FreeBytes() (int64, error)
}

// Forgetter is a Store that keeps bytes nearer than where it stores them. What it
// has forgotten is fetched from there when it is next opened.
type Forgetter interface {
	Forget(name string)
}

// Resealer is a Store that encrypts, under keys that may change.
type Resealer interface {
	// Stale calls fn with the name of each blob that is not encrypted, or with
	// another key than the present one, until fn fails.
	Stale(ctx context.Context, prefix string, fn func(name string) error) error
	// Reseal encrypts a blob with the present key and removes its other forms. What
	// read gives is the blob, which nobody replaces or deletes meanwhile.
	Reseal(ctx context.Context, name string, read func(context.Context) (Reader, error)) error
}

// Landing is where the bytes of a blob go that is being fetched. It is for one
// goroutine.
type Landing interface {
	io.Writer
	// Reset drops what was written, for another attempt.
	Reset() error
	// Sum is the SHA-256 of what was written since.
	Sum() [sha256.Size]byte
}

// Fetch writes all bytes of a blob, and has them checked as well as can be. After
// an error nothing of what it wrote is used.
type Fetch func(ctx context.Context, to Landing) error

// Reopen opens the file behind f for reading, with an offset of its own, also
// when it has no name any more (through /proc). The error is the system's.
func Reopen(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again *os.File
	var openErr error
	if err := raw.Control(func(fd uintptr) {
		again, openErr = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	}); err != nil {
		return nil, err
	}
	return again, openErr
}
