// Package fault gives every error that may reach a client a kind, a stable
// code and a sentence.
//
// Adapters classify errors where they meet a library or the system; layers
// above wrap with fmt.Errorf("…: %w", err). The transport maps kinds to
// statuses in one table. What an error was caused by goes to logs only: a
// client sees Message and nothing else.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of failure an error is, and so what a caller may do.
type Kind int

// The kinds. Internal is the zero value: an error that nobody classified.
const (
	Internal        Kind = iota // a defect of ours
	Invalid                     // the request itself is malformed
	Unauthenticated             // no credentials, or unknown ones
	Denied                      // known, but not allowed
	NotFound                    // no such thing for this owner
	Conflict                    // clashes with the present state
	Precondition                // a condition that the caller set does not hold
	TooLarge                    // more bytes or files than a limit allows
	Unsupported                 // a format that is not accepted
	Unprocessable               // understood, but the picture is corrupt or over a picture limit
	Exhausted                   // the caller used up its share; later is better
	Unavailable                 // we can't now; later is better
	Timeout                     // work ran into its deadline
	OutOfSpace                  // no room left to store anything
	Canceled                    // the caller went away
	Upstream                    // another server, that we asked for the caller, failed
	kinds                       // how many there are
)

var kindNames = [kinds]string{
	"internal", "invalid", "unauthenticated", "denied", "not-found", "conflict", "precondition-failed",
	"too-large", "unsupported-format", "unprocessable-image", "exhausted", "unavailable", "timeout",
	"out-of-space", "canceled", "upstream-failed",
}

// String is the kind's stable code, as in a problem document's type.
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return kindNames[Internal]
	}
	return kindNames[k]
}

// Kinds lists every kind, for tables that must cover them all.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a classified error. It is a value to build with New, Wrap or Limit
// and not to change once it is returned.
type Error struct {
	Kind    Kind
	Code    string // stable, lower case with dashes; the kind's own where empty
	Message string // a sentence for the client, without secrets or paths

	// Set by Limit: the setting that was exceeded, its value, and what came.
	Limit    string
	Max, Got int64

	RetryAfter time.Duration // a hint for Exhausted and Unavailable; 0 is none
	Cause      error         // for logs only
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a kind whose message may reach a client.
func New(k Kind, message string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(message, args...)}
}

// Wrap makes an error of a kind with a cause that only logs see.
func Wrap(k Kind, cause error, message string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(message, args...), Cause: cause}
}

// Limit makes an error that names the setting which was exceeded, such as
// "ingest.max_file_bytes". The message should say both numbers in words.
func Limit(k Kind, setting string, max, got int64, message string, args ...any) *Error {
	return &Error{Kind: k, Code: "limit-exceeded", Message: fmt.Sprintf(message, args...), Limit: setting, Max: max, Got: got}
}

// Of is the kind of an error: that of the outermost *Error in its chain, and
// Internal where there is none.
func Of(err error) Kind {
	if e := As(err); e != nil {
		return e.Kind
	}
	return Internal
}

// As is the outermost *Error in a chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Retryable tells whether the same call may succeed later, unchanged.
func Retryable(err error) bool {
	switch Of(err) {
	case Exhausted, Unavailable, Timeout, OutOfSpace, Upstream:
		return true
	}
	return false
}
