package cdkblob

import (
	"context"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

// dialect is what the Go CDK leaves to each service.
type dialect interface {
	// pinRead and pinDelete have a request fail if the object has not the version.
	pinRead(as func(any) bool, version string)
	pinDelete(as func(any) bool, version string)
	// opened and looked add what the service tells.
	opened(*blob.Reader, *objectblob.Object)
	looked(*blob.Attributes, *objectblob.Object)
	// explain finds the status of the answer that an error came from, and what the
	// service calls it.
	explain(error) (status int, code string)
}

// driver is an objectblob.Driver over a bucket of the Go CDK.
type driver struct {
	bucket  *blob.Bucket
	dialect dialect
	sumsMD5 bool // the service checks uploads by their MD5
	name    string
	config  objectblob.Config
}

var _ objectblob.Driver = (*driver)(nil)

// noted is the key of metadata that an object's digest is noted under.
const noted = "sha256"

// Put implements objectblob.Driver.
func (d *driver) Put(ctx context.Context, key string, body io.ReadSeeker, c objectblob.Content) error {
	o := &blob.WriterOptions{
		BufferSize: int(d.config.PartBytes), MaxConcurrency: d.config.Parallel,
		ContentType: c.Type, Metadata: map[string]string{noted: c.SHA256},
	}
	if d.sumsMD5 {
		o.ContentMD5 = c.MD5
	}
	return d.classify(d.bucket.Upload(ctx, key, body, o))
}

// Get implements objectblob.Driver.
func (d *driver) Get(ctx context.Context, key string, offset, length int64, version string) (io.ReadCloser, objectblob.Object, error) {
	o := &blob.ReaderOptions{}
	if version != "" {
		o.BeforeRead = func(as func(any) bool) error {
			d.dialect.pinRead(as, version)
			return nil
		}
	}
	r, err := d.bucket.NewRangeReader(ctx, key, offset, length, o)
	if err != nil {
		return nil, objectblob.Object{}, d.classify(err)
	}
	object := objectblob.Object{Key: key, Bytes: r.Size(), Modified: r.ModTime()}
	d.dialect.opened(r, &object)
	return r, object, nil
}

// Head implements objectblob.Driver.
func (d *driver) Head(ctx context.Context, key string) (objectblob.Object, error) {
	at, err := d.bucket.Attributes(ctx, key)
	if err != nil {
		return objectblob.Object{}, d.classify(err)
	}
	object := objectblob.Object{Key: key, Bytes: at.Size, Modified: at.ModTime, SHA256: at.Metadata[noted]}
	if d.sumsMD5 {
		object.MD5 = at.MD5
	}
	d.dialect.looked(at, &object)
	return object, nil
}

// Delete implements objectblob.Driver.
func (d *driver) Delete(ctx context.Context, key, version string) error {
	o := &blob.DeleteOptions{}
	if version != "" {
		o.BeforeDelete = func(as func(any) bool) error {
			d.dialect.pinDelete(as, version)
			return nil
		}
	}
	err := d.classify(d.bucket.DeleteWithOptions(ctx, key, o))
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	return err
}

// pageObjects is how many objects a page of List has.
const pageObjects = 1000

// List implements objectblob.Driver.
func (d *driver) List(ctx context.Context, prefix, after string, limit int) ([]objectblob.Object, string, error) {
	if limit == 0 {
		limit = pageObjects
	}
	token := []byte(after)
	if after == "" {
		token = blob.FirstPageToken
	}
	found, next, err := d.bucket.ListPage(ctx, token, limit, &blob.ListOptions{Prefix: prefix})
	if err != nil {
		return nil, "", d.classify(err)
	}
	page := make([]objectblob.Object, 0, len(found))
	for _, o := range found {
		if !o.IsDir {
			page = append(page, objectblob.Object{Key: o.Key, Bytes: o.Size, Modified: o.ModTime})
		}
	}
	return page, string(next), nil
}

// Close implements objectblob.Driver.
func (d *driver) Close() error { return d.bucket.Close() }

func (d *driver) classify(err error) error {
	if err == nil {
		return nil
	}
	status, code := d.dialect.explain(err)
	if status == 0 && code == "" { // what the Go CDK has found itself
		switch gcerrors.Code(err) {
		case gcerrors.NotFound:
			code = "NotFound"
		case gcerrors.PermissionDenied:
			code = "AccessDenied"
		case gcerrors.FailedPrecondition:
			code = "PreconditionFailed"
		}
	}
	return objectblob.Classify(err, status, code, d.name)
}
