package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"safelight/internal/fault"
)

var errClosed = fault.New(fault.Unavailable, "the database is closed")

const (
	messageFull     = "there is no room left for the database"
	messageUnusable = "the database can't be used at the moment"
)

// classify turns SQLite's error into one of ours. What is classified already,
// and nil, pass through.
func classify(err error, doing string) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	kind, message := fault.Internal, "the database failed"
	var failed sqlite3.Error
	switch {
	case errors.Is(err, context.Canceled):
		kind, message = fault.Canceled, "the request was cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		kind, message = fault.Timeout, "the database took too long"
	case errors.Is(err, sql.ErrNoRows):
		kind, message = fault.NotFound, "there is no such image"
	case errors.Is(err, sql.ErrConnDone), err.Error() == "sql: database is closed":
		return errClosed
	case errors.As(err, &failed):
		kind, message = classifyCode(failed)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, message = fault.OutOfSpace, messageFull
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		kind, message = fault.Unavailable, messageUnusable
	}
	return fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err), "%s", message)
}

func classifyCode(err sqlite3.Error) (fault.Kind, string) {
	switch {
	case err.Code == sqlite3.ErrFull, err.SystemErrno == syscall.ENOSPC, err.SystemErrno == syscall.EDQUOT:
		return fault.OutOfSpace, messageFull
	case err.Code == sqlite3.ErrBusy, err.Code == sqlite3.ErrLocked:
		return fault.Unavailable, "the database is locked by another process"
	case err.Code == sqlite3.ErrCantOpen, err.Code == sqlite3.ErrNomem,
		err.SystemErrno == syscall.EMFILE, err.SystemErrno == syscall.ENFILE:
		return fault.Unavailable, messageUnusable
	case err.Code == sqlite3.ErrInterrupt:
		return fault.Canceled, "the request was cancelled"
	case err.Code == sqlite3.ErrCorrupt, err.Code == sqlite3.ErrNotADB:
		return fault.Internal, "the database is damaged"
	}
	return fault.Internal, "the database failed"
}
