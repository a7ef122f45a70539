package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"

	"safelight/internal/fault"
)

func TestKindsHaveDistinctCodes(t *testing.T) {
	t.Parallel()
	seen := make(map[string]fault.Kind)
	for _, k := range fault.Kinds() {
		code := k.String()
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(code) {
			t.Errorf("kind %d has the code %q; want lower case with dashes", k, code)
		}
		if other, taken := seen[code]; taken {
			t.Errorf("kinds %d and %d have the same code %q", other, k, code)
		}
		seen[code] = k
	}
	if len(seen) < 15 {
		t.Errorf("Kinds lists %d kinds", len(seen))
	}
	for _, k := range []fault.Kind{-1, fault.Kind(len(seen)), 1 << 30} {
		if k.String() != "internal" {
			t.Errorf("the unknown kind %d is %q", k, k)
		}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	missing := fault.New(fault.NotFound, "no %s", "image")
	tests := []struct {
		name string
		err  error
		want fault.Kind
		as   *fault.Error
	}{
		{"nil", nil, fault.Internal, nil},
		{"unclassified", io.EOF, fault.Internal, nil},
		{"a deadline that nobody classified", context.DeadlineExceeded, fault.Internal, nil},
		{"itself", missing, fault.NotFound, missing},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", missing)), fault.NotFound, missing},
		{"joined", errors.Join(io.EOF, missing), fault.NotFound, missing},
		{"the outermost counts", fmt.Errorf("c: %w", fault.Wrap(fault.Unavailable, missing, "later")), fault.Unavailable, nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := fault.Of(c.err); got != c.want {
				t.Errorf("Of is %s; want %s", got, c.want)
			}
			if got := fault.As(c.err); c.as != nil && got != c.as || c.want == fault.Internal && got != nil {
				t.Errorf("As is %v; want %v", got, c.as)
			}
		})
	}
}

func TestCauses(t *testing.T) {
	t.Parallel()
	err := fault.Wrap(fault.OutOfSpace, io.ErrShortWrite, "no room for %d bytes", 7)
	if err.Message != "no room for 7 bytes" || err.Error() != "no room for 7 bytes: short write" {
		t.Errorf("message %q, text %q", err.Message, err)
	}
	if !errors.Is(fmt.Errorf("store: %w", err), io.ErrShortWrite) {
		t.Error("the cause is not found")
	}
	if e := fault.New(fault.Invalid, "bad"); e.Error() != "bad" || e.Unwrap() != nil {
		t.Errorf("without a cause: %q, %v", e, e.Unwrap())
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	err := fault.As(fmt.Errorf("x: %w", fault.Limit(fault.TooLarge, "ingest.max_file_bytes", 10, 11, "%d is more than %d", 11, 10)))
	if err.Kind != fault.TooLarge || err.Code != "limit-exceeded" || err.Limit != "ingest.max_file_bytes" || err.Max != 10 || err.Got != 11 || err.Message != "11 is more than 10" {
		t.Errorf("%+v", err)
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	want := map[fault.Kind]bool{fault.Exhausted: true, fault.Unavailable: true, fault.Timeout: true, fault.OutOfSpace: true, fault.Upstream: true}
	for _, k := range fault.Kinds() {
		if got := fault.Retryable(fmt.Errorf("x: %w", fault.New(k, "y"))); got != want[k] {
			t.Errorf("%s: retryable is %t; want %t", k, got, want[k])
		}
	}
	if fault.Retryable(nil) || fault.Retryable(io.EOF) {
		t.Error("what nobody classified is retryable")
	}
}
