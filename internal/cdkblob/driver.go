package cdkblob

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

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
	// write has the service check what comes; its library may do so already.
	write(as func(any) bool, c objectblob.Content)
	// opened and looked add what the service tells.
	opened(*blob.Reader, *objectblob.Object)
	looked(*blob.Attributes, *objectblob.Object)
	// explain finds the status of the answer that an error came from, and what the
	// service calls it.
	explain(error) (status int, code string)
}

// putter is a dialect that sends small objects better than the CDK does.
type putter interface {
	// put sends an object in one request; done is false for one that it leaves to
	// the CDK.
	put(ctx context.Context, key string, body io.ReadSeeker, c objectblob.Content) (done bool, err error)
}

// driver is an objectblob.Driver over a bucket of the Go CDK.
type driver struct {
	bucket  *blob.Bucket
	dialect dialect
	name    string
	config  objectblob.Config

	sumsMD5 bool // the service tells the MD5 of what it has
	retries bool // it is for us to try again
}

var _ objectblob.Driver = (*driver)(nil)

// noted is the key of metadata that an object's digest is noted under.
const noted = "sha256"

// Put implements objectblob.Driver.
func (d *driver) Put(ctx context.Context, key string, body io.ReadSeeker, c objectblob.Content) error {
	o := &blob.WriterOptions{
		BufferSize: int(d.config.PartBytes), MaxConcurrency: d.config.Parallel,
		ContentType: c.Type, Metadata: map[string]string{noted: c.SHA256},
		BeforeWrite: func(as func(any) bool) error {
			d.dialect.write(as, c)
			return nil
		},
	}
	return d.try(ctx, func() error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if small, ok := d.dialect.(putter); ok {
			if done, err := small.put(ctx, key, body, c); done || err != nil {
				return err
			}
		}
		return d.bucket.Upload(ctx, key, body, o)
	})
}

// firstPause is doubled with each failure in a row.
const firstPause = 200 * time.Millisecond

// try asks the service, often enough if its library does not, and classifies the
// error.
func (d *driver) try(ctx context.Context, ask func() error) error {
	for n := 1; ; n++ {
		err := d.classify(ask())
		if !d.retries || n >= d.config.Attempts || fault.Of(err) != fault.Unavailable {
			return err
		}
		longest := min(firstPause<<(n-1), longestPause)
		t := time.NewTimer(longest/2 + rand.N(longest/2)) // others wait for another time
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
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
	var r *blob.Reader
	err := d.try(ctx, func() (err error) {
		r, err = d.bucket.NewRangeReader(ctx, key, offset, length, o)
		return err
	})
	if err != nil {
		return nil, objectblob.Object{}, err
	}
	object := objectblob.Object{Key: key, Bytes: r.Size(), Modified: r.ModTime()}
	d.dialect.opened(r, &object)
	return r, object, nil
}

// Head implements objectblob.Driver.
func (d *driver) Head(ctx context.Context, key string) (objectblob.Object, error) {
	ctx, clock := withClock(ctx)
	var at *blob.Attributes
	err := d.try(ctx, func() (err error) {
		at, err = d.bucket.Attributes(ctx, key)
		return err
	})
	if err != nil {
		return objectblob.Object{}, err
	}
	object := objectblob.Object{Key: key, Bytes: at.Size, Modified: at.ModTime, SHA256: at.Metadata[noted], Asked: *clock}
	if d.sumsMD5 {
		object.MD5 = at.MD5
	}
	d.dialect.looked(at, &object)
	return object, nil
}

// Delete implements objectblob.Driver. A service that has no such condition is
// asked without.
func (d *driver) Delete(ctx context.Context, key, version string) error {
	o := &blob.DeleteOptions{}
	if version != "" {
		o.BeforeDelete = func(as func(any) bool) error {
			d.dialect.pinDelete(as, version)
			return nil
		}
	}
	missing := false
	err := d.try(ctx, func() error {
		err := d.bucket.DeleteWithOptions(ctx, key, o)
		if status, _ := d.dialect.explain(err); err != nil && status == http.StatusNotImplemented {
			missing = true
		}
		return err
	})
	switch {
	case missing && version != "":
		return d.Delete(ctx, key, "")
	case fault.Of(err) == fault.NotFound:
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
	var found []*blob.ListObject
	var next []byte
	err := d.try(ctx, func() (err error) {
		found, next, err = d.bucket.ListPage(ctx, token, limit, &blob.ListOptions{Prefix: prefix})
		return err
	})
	if err != nil {
		return nil, "", err
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
	// What the Go CDK has found itself; but it takes a host without an address for
	// an object that is not there.
	if at := net.Error(nil); status == 0 && code == "" && !errors.As(err, &at) {
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
