package objectblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// call asks the service, unless it is to be left alone.
func (s *Store) call(ctx context.Context, ask func(context.Context) error) error {
	leave, err := s.begin(ctx, ask)
	if err == nil {
		leave()
	}
	return err
}

// begin is call, for an answer that goes on: the context that ask was given ends
// with leave, which must be called. The services' libraries rely on what answers
// ought to have, so that others may make them panic.
func (s *Store) begin(ctx context.Context, ask func(context.Context) error) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	running, end, err := s.watch.Enter(ctx)
	if err != nil {
		return nil, s.away(err)
	}
	done, keepOff := s.breaker.Begin()
	if done == nil {
		end()
		err := fault.New(fault.Unavailable, "the bucket %s has failed again and again, and is left alone for a while", s.bucket)
		err.RetryAfter = keepOff
		return nil, err
	}
	outcome := breaker.Worked
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v", p), "the bucket %s gave an answer that can't be understood", s.bucket)
		}
		done(outcome, err)
		if err != nil {
			end()
		}
	}()
	if err = ask(running); err == nil {
		s.seen.Store(time.Now().UnixNano())
		return end, nil
	}
	switch {
	case ctx.Err() != nil:
		outcome, err = breaker.Abandoned, canceled(ctx)
	case isAway(running):
		outcome, err = breaker.Abandoned, s.away(err) // the watch keeps off
	case fault.Of(err) == fault.Unavailable:
		outcome = breaker.Failed
	}
	return nil, err
}

// canceled classifies the end of a context.
func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "the destination took too long")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "the request was cancelled")
}

// Codes of services, beyond what their statuses tell. Those of S3 and OSS are the
// same where they mean the same; the others are Azure's and Google's.
var codes = map[string]verdict{
	"NoSuchBucket": noBucket, "ContainerNotFound": noBucket, "ContainerBeingDeleted": noBucket, "ContainerDisabled": noBucket,
	"NoSuchKey": noObject, "NotFound": noObject, "BlobNotFound": noObject, "ResourceNotFound": noObject,
	"PreconditionFailed": changed, "ConditionNotMet": changed, "ConditionalRequestConflict": changed,
	"AccessDenied": denied, "Forbidden": denied, "InvalidAccessKeyId": denied, "SignatureDoesNotMatch": denied, "ExpiredToken": denied,
	"InvalidToken": denied, "SecurityTokenExpired": denied, "RequestTimeTooSkewed": denied, "AuthenticationFailed": denied,
	"AuthorizationFailure": denied, "AuthorizationPermissionMismatch": denied, "AccountDisabled": denied, "XAdminUserNotFound": denied,
	"QuotaExceeded": full, "InsufficientStorage": full, "AccountLimitExceeded": full, "XMinioStorageFull": full, "StorageQuotaExceeded": full,
	"SlowDown": busy, "ServerBusy": busy, "RequestTimeout": busy, "Throttling": busy, "ThrottlingException": busy, "InternalError": busy,
	"OperationTimedOut": busy, "ServiceUnavailable": busy, "RequestLimitExceeded": busy, "OperationAborted": busy,
	"PermanentRedirect": elsewhere, "TemporaryRedirect": busy, "AuthorizationHeaderMalformed": elsewhere,
}

type verdict int

const (
	unknown verdict = iota
	noBucket
	noObject
	changed
	denied
	full
	busy
	elsewhere
	refused
)

// Classify turns a service's error into one of ours. status is that of its
// answer, 0 without one; code is what it calls the error, or "".
func Classify(err error, status int, code, bucket string) error {
	if err == nil {
		return nil
	}
	v, ok := codes[code]
	if !ok {
		v = ofStatus(status)
	}
	if !ok && v == noObject && code != "" {
		v = unknown // something else is missing: an account, say
	}
	cause := scrubbed(err)
	switch v {
	case noBucket:
		return Gone(cause, bucket)
	case noObject:
		return fault.Wrap(fault.NotFound, cause, "there is no such blob")
	case changed:
		return fault.Wrap(fault.Precondition, cause, "the object has been written again or deleted meanwhile")
	case denied:
		return fault.Wrap(fault.Unavailable, &lasting{cause}, "access to the bucket %s was denied; check its credentials and their rights", bucket)
	case full:
		return fault.Wrap(fault.OutOfSpace, cause, "there is no room left in the bucket %s", bucket)
	case busy:
		return fault.Wrap(fault.Unavailable, cause, "the bucket %s can't answer at the moment", bucket)
	case elsewhere:
		return fault.Wrap(fault.Unavailable, &lasting{cause}, "the bucket %s is in another region, or at another endpoint, than its address says", bucket)
	case refused:
		return fault.Wrap(fault.Internal, cause, "the bucket %s refused a request", bucket)
	}
	return fault.Wrap(fault.Unavailable, cause, "the bucket %s can't be reached at the moment", bucket)
}

func ofStatus(status int) verdict {
	switch {
	case status == 0 || status < 300: // nothing came, or it broke off
		return unknown
	case status == http.StatusMovedPermanently, status == http.StatusTemporaryRedirect, status == http.StatusPermanentRedirect:
		return elsewhere
	case status == http.StatusNotFound:
		return noObject
	case status == http.StatusPreconditionFailed:
		return changed
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return denied
	case status == http.StatusInsufficientStorage:
		return full
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return busy
	}
	return refused
}

// lasting is the cause of an error that an operator must see to.
type lasting struct{ error }

func (l *lasting) Unwrap() error { return l.error }

// Lasting tells errors that stay until somebody changes the address, the bucket, the
// credentials or their rights: trying again is of no use to one who waits for it.
func Lasting(err error) bool { return errors.As(err, new(*lasting)) }

// scrubbed leaves out the address of a request that failed, which may hold a
// signature.
func scrubbed(err error) error {
	if at := (*url.Error)(nil); errors.As(err, &at) {
		return fmt.Errorf("%s: %w", at.Op, at.Err)
	}
	return err
}
