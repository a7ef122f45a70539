// Package cdkblob keeps blobs in buckets of S3 and what speaks its protocol,
// Google Cloud Storage and Azure, through the Go CDK. What they have in common is
// in package objectblob. Credentials come from the environment, or where else the
// services' own libraries look for them.
package cdkblob

import (
	"context"
	"log/slog"
	"strings"

	"safelight/internal/breaker"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

// Options say which bucket to use, and how.
type Options struct {
	// URL is the bucket's, with the scheme s3, gs or azblob.
	URL     string
	Config  objectblob.Config
	Spool   string           // as in objectblob.Options
	Breaker *breaker.Breaker // as in objectblob.Options
	Log     *slog.Logger     // as in objectblob.Options
}

// service is what a scheme stands for.
type service struct {
	check func(objectblob.Address) error
	open  func(context.Context, objectblob.Address, objectblob.Config, *objectblob.Traffic) (*driver, error)
	known []string // parameters
}

var s3Service = service{checkS3, openS3, []string{"region", "endpoint", "path_style", "sse", "kms_key", "checksums"}}

// serviceOf finds what a scheme stands for.
func serviceOf(scheme string) (service, error) {
	if scheme == "s3" {
		return s3Service, nil
	}
	if known, ok := clouds[scheme]; ok {
		return known, nil
	}
	switch scheme {
	case "gs":
		return service{}, fault.New(fault.Invalid, "url: this build has no gs://; build with TAGS=clouds, or use s3:// with endpoint=https://storage.googleapis.com and an HMAC key")
	case "azblob":
		return service{}, fault.New(fault.Invalid, "url: this build has no azblob://; build with TAGS=clouds")
	}
	return service{}, fault.New(fault.Invalid, "url: expected an address such as s3://bucket/prefix")
}

// Check tells what is wrong with a URL, without using it. The scheme must be one
// of those in Options.
func Check(url string) error {
	_, _, err := parse(url)
	return err
}

func parse(url string) (objectblob.Address, service, error) {
	scheme, _, _ := strings.Cut(url, ":")
	known, err := serviceOf(scheme)
	if err != nil {
		return objectblob.Address{}, known, err
	}
	a, err := objectblob.ParseAddress(url, known.known...)
	if err != nil {
		return a, known, err
	}
	return a, known, known.check(a)
}

// Open makes a store. It sends nothing to the bucket, but may ask where
// credentials are to be had.
func Open(ctx context.Context, o Options) (*objectblob.Store, error) {
	a, known, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	traffic := new(objectblob.Traffic)
	d, err := known.open(ctx, a, o.Config, traffic)
	if err != nil {
		return nil, err
	}
	d.name, d.config = a.Bucket, o.Config
	return objectblob.New(objectblob.Options{
		Config: o.Config, Driver: d, Bucket: a.Bucket, Prefix: a.Prefix, Spool: o.Spool, Breaker: o.Breaker,
		Traffic: traffic, Log: o.Log, MD5: a.Scheme != "s3",
	})
}
