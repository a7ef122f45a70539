//go:build clouds

package cdkblob

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

func checkGCS(a objectblob.Address) error {
	_, err := a.Endpoint()
	return err
}

func openGCS(ctx context.Context, a objectblob.Address, c objectblob.Config, m *objectblob.Traffic) (*driver, error) {
	transport := tuned(c, m)
	// The credentials are renewed with this context as long as they are used.
	lasting := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: time.Minute})
	found, err := gcp.DefaultCredentials(lasting)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "there are no credentials for Google Cloud; set GOOGLE_APPLICATION_CREDENTIALS")
	}
	client, err := gcp.NewHTTPClient(transport, found.TokenSource)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the credentials for Google Cloud can't be used")
	}
	endpoint, err := a.Endpoint()
	if err != nil {
		return nil, err
	}
	o := &gcsblob.Options{}
	if endpoint != "" {
		o.ClientOptions = []option.ClientOption{option.WithEndpoint(endpoint + "/storage/v1/")}
	}
	bucket, err := gcsblob.OpenBucket(lasting, client, a.Bucket, o)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the bucket can't be used")
	}
	if service := (*storage.Client)(nil); bucket.As(&service) {
		service.SetRetry(storage.WithPolicy(storage.RetryNever)) // its bounds do not hold for uploads
	}
	return &driver{bucket: bucket, dialect: gcsDialect{}, sumsMD5: true, retries: true}, nil
}

// gcsDialect is what Google Cloud Storage has of its own.
type gcsDialect struct{}

func pinned(as func(any) bool, version string) {
	generation, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		generation = -1 // which no object has
	}
	if handle := (**storage.ObjectHandle)(nil); as(&handle) {
		*handle = (*handle).If(storage.Conditions{GenerationMatch: generation})
	}
}

func (gcsDialect) pinRead(as func(any) bool, version string)   { pinned(as, version) }
func (gcsDialect) pinDelete(as func(any) bool, version string) { pinned(as, version) }

func (gcsDialect) write(as func(any) bool, c objectblob.Content) {
	if w := (*storage.Writer)(nil); as(&w) {
		w.MD5 = c.MD5 // which the service checks
	}
}

func (gcsDialect) opened(r *blob.Reader, o *objectblob.Object) {
	if reader := (*storage.Reader)(nil); r.As(&reader) {
		o.Version = strconv.FormatInt(reader.Attrs.Generation, 10)
	}
}

func (gcsDialect) looked(at *blob.Attributes, o *objectblob.Object) {
	var attrs storage.ObjectAttrs
	if at.As(&attrs) {
		o.Version = strconv.FormatInt(attrs.Generation, 10)
	}
}

func (gcsDialect) explain(err error) (status int, code string) {
	answer := (*googleapi.Error)(nil)
	if errors.As(err, &answer) {
		status = answer.Code
		if len(answer.Errors) > 0 {
			code = googleCodes[answer.Errors[0].Reason]
		}
	}
	switch {
	case errors.Is(err, storage.ErrBucketNotExist):
		code = "NoSuchBucket"
	case errors.Is(err, storage.ErrObjectNotExist):
		code = "NoSuchKey"
	}
	return status, code
}

// googleCodes are reasons that say more than the status, which is 403.
var googleCodes = map[string]string{
	"rateLimitExceeded": "SlowDown", "userRateLimitExceeded": "SlowDown", "quotaExceeded": "QuotaExceeded",
}
