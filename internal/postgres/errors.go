package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"safelight/internal/fault"
)

var errClosed = fault.New(fault.Unavailable, "the database is closed")

const (
	messageFull    = "there is no room left for the database"
	messageGone    = "the database server can't be reached at the moment"
	messageSlow    = "the database server took too long to answer"
	messageTooMany = "the database server has no connection left for this node; raise its max_connections, or lower database.max_conns"
	messageDenied  = "the database server does not let this node in, or not do what it must; look at database.url and the role's rights"
)

// classify turns an error of the driver into one of ours. What is classified
// already, and nil, pass through.
func classify(err error, doing string) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	kind, message := fault.Internal, "the database failed"
	var failed *pgconn.PgError
	switch {
	case err.Error() == "closed pool":
		return errClosed
	case errors.As(err, &failed): // before contexts: the server's word counts more
		kind, message = classifyCode(failed.Code)
	case errors.Is(err, context.Canceled):
		kind, message = fault.Canceled, "the request was cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		kind, message = fault.Unavailable, messageSlow
	case errors.Is(err, pgx.ErrNoRows):
		kind, message = fault.NotFound, "there is no such image"
	case broken(err), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		kind, message = fault.Unavailable, messageGone
	}
	return fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err), "%s", message)
}

// classifyCode goes by the SQLSTATE of PostgreSQL's appendix A.
func classifyCode(code string) (fault.Kind, string) {
	switch code {
	case "53100": // disk_full
		return fault.OutOfSpace, messageFull
	case "53300", "53400": // too_many_connections, configuration_limit_exceeded
		return fault.Unavailable, messageTooMany
	case "57P01", "57P02", "57P03", "57P05", "25P03": // shutdown, crash, starting up, idle session, idle transaction
		return fault.Unavailable, messageGone
	case "57014": // query_canceled, also by statement_timeout
		return fault.Unavailable, messageSlow
	case "25006": // read_only_sql_transaction
		return fault.Unavailable, "the database server takes no changes at the moment: it is a standby, or read-only"
	case "55P03": // lock_not_available
		return fault.Unavailable, "the database is locked by somebody else"
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return fault.Unavailable, "too many change the same at once"
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return fault.Invalid, "text with a NUL byte or broken UTF-8 can't be stored"
	case "3D000", "42501": // invalid_catalog_name, insufficient_privilege
		return fault.Unavailable, messageDenied
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return fault.Internal, "the database is damaged"
	}
	switch code[:min(len(code), 2)] {
	case "08": // connection exception
		return fault.Unavailable, messageGone
	case "28": // invalid authorization
		return fault.Unavailable, messageDenied
	case "53": // insufficient resources
		return fault.Unavailable, "the database server is short of memory"
	case "58": // system error, such as a failing disk
		return fault.Unavailable, "the database server's system failed"
	}
	return fault.Internal, "the database failed"
}

// broken tells errors after which the connection is gone, so that the call may
// work over another one.
func broken(err error) bool {
	if err == nil || fault.As(err) != nil || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var connecting *pgconn.ConnectError
	var network net.Error
	var failed *pgconn.PgError
	if errors.As(err, &failed) {
		return slices.Contains([]string{"57P01", "57P02", "57P05", "25P03"}, failed.Code) || strings.HasPrefix(failed.Code, "08") || refused(err)
	}
	return errors.As(err, &connecting) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// refused tells that the server takes no changes: another host may have become
// the one that does, so the connections to this one are given up.
func refused(err error) bool {
	var failed *pgconn.PgError
	return errors.As(err, &failed) && failed.Code == "25006"
}

// conflict tells errors of a transaction that may work when it is tried again:
// others changed the same at the same time.
func conflict(err error) bool {
	var failed *pgconn.PgError
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Code {
	case "40001", "40P01":
		return true
	case "23505": // unique_violation: what was free when we looked
		return failed.ConstraintName != imagesPrimary
	case "23503": // foreign_key_violation: what was there when we looked
		return true
	}
	return false
}

// imagesPrimary is the name of the constraint that ids of images are unique.
const imagesPrimary = "images_pkey"
