package blob

import (
	"context"
	"time"

	"safelight/internal/fault"
)

// ReadOnly is a store that is somebody else's: it is read, and never written to
// or deleted from, whoever asks.
type ReadOnly struct{ Store }

var errReadOnly = fault.New(fault.Denied, "the store is somebody else's, and only read")

// Create fails with fault.Denied.
func (ReadOnly) Create(context.Context) (Writer, error) { return nil, errReadOnly }

// Delete fails with fault.Denied.
func (ReadOnly) Delete(context.Context, string, time.Time) (bool, error) { return false, errReadOnly }
