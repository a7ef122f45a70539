package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"safelight/internal/fault"
	"safelight/internal/postgres"
)

func TestKindsOfErrors(t *testing.T) {
	t.Parallel()
	for code, kind := range map[string]fault.Kind{
		"53100": fault.OutOfSpace, "53300": fault.Unavailable, "53200": fault.Unavailable, "57P01": fault.Unavailable, "57P03": fault.Unavailable,
		"08006": fault.Unavailable, "25006": fault.Unavailable, "40001": fault.Unavailable, "40P01": fault.Unavailable, "57014": fault.Unavailable,
		"28P01": fault.Unavailable, "3D000": fault.Unavailable, "22021": fault.Invalid, "XX001": fault.Internal, "42601": fault.Internal,
	} {
		if err := postgres.Classify(&pgconn.PgError{Code: code}); fault.Of(err) != kind {
			t.Errorf("%s gave %v (%v), expected %v", code, err, fault.Of(err), kind)
		}
	}
	for _, c := range []struct {
		err  error
		kind fault.Kind
	}{
		{context.Canceled, fault.Canceled}, {context.DeadlineExceeded, fault.Unavailable}, {pgx.ErrNoRows, fault.NotFound},
		{io.ErrUnexpectedEOF, fault.Unavailable}, {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, fault.Unavailable},
		{syscall.EMFILE, fault.Unavailable}, {errors.New("closed pool"), fault.Unavailable}, {errors.New("what"), fault.Internal},
		{fault.New(fault.Conflict, "ours"), fault.Conflict},
	} {
		if err := postgres.Classify(c.err); fault.Of(err) != c.kind {
			t.Errorf("%v gave %v (%v), expected %v", c.err, err, fault.Of(err), c.kind)
		}
	}
	if err := postgres.Classify(nil); err != nil {
		t.Errorf("no error gave %v", err)
	}
}
