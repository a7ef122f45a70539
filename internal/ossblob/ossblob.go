// Package ossblob keeps blobs in buckets of Aliyun OSS, with requests signed by
// its version 4. What object stores have in common is in package objectblob.
// Credentials come from the environment: OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET
// and OSS_SESSION_TOKEN.
package ossblob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/retry"

	"safelight/internal/breaker"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

// Options say which bucket to use, and how.
type Options struct {
	// URL is such as oss://bucket/prefix?region=cn-hangzhou.
	URL     string
	Config  objectblob.Config
	Spool   string           // as in objectblob.Options
	Breaker *breaker.Breaker // as in objectblob.Options
	Log     *slog.Logger     // as in objectblob.Options
}

// Check tells what is wrong with a URL, without using it.
func Check(url string) error {
	_, err := parse(url)
	return err
}

func parse(url string) (objectblob.Address, error) {
	a, err := objectblob.ParseAddress(url, "region", "endpoint", "path_style", "sse", "kms_key")
	if err != nil {
		return a, err
	}
	if a.Scheme != "oss" {
		return a, fault.New(fault.Invalid, "url: expected an address such as oss://bucket/prefix?region=cn-hangzhou")
	}
	if a.Param("region") == "" {
		return a, fault.New(fault.Invalid, "url: the region is missing, such as region=cn-hangzhou")
	}
	sse, err := a.Choice("sse", "AES256", "KMS", "SM4")
	if err != nil {
		return a, err
	}
	if a.Param("kms_key") != "" && sse != "KMS" {
		return a, fault.New(fault.Invalid, "url: kms_key needs sse=KMS")
	}
	if _, err := a.Choice("path_style", "true", "false"); err != nil {
		return a, err
	}
	_, err = a.Endpoint()
	return a, err
}

// longestPause bounds the time between two attempts of a request.
const longestPause = 5 * time.Second

// Open makes a store; it sends nothing.
func Open(o Options) (*objectblob.Store, error) {
	a, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	traffic := new(objectblob.Traffic)
	traffic.Tune(transport, o.Config.Stall)
	config := oss.LoadDefaultConfig().
		WithRegion(a.Param("region")).WithUsePathStyle(a.Param("path_style") == "true").
		WithCredentialsProvider(credentials.NewEnvironmentVariableCredentialsProvider()).
		WithSignatureVersion(oss.SignatureVersionV4).
		WithHttpClient(&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).
		WithRetryMaxAttempts(o.Config.Attempts).
		WithRetryer(retry.NewStandard(func(r *retry.RetryOptions) { r.MaxAttempts, r.MaxBackoff = o.Config.Attempts, longestPause }))
	config.AdditionalHeaders = []string{"if-match", "range"} // what is read is signed too
	endpoint, err := a.Endpoint()
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		config = config.WithEndpoint(endpoint)
	}
	d := &driver{client: oss.NewClient(config), transport: transport, bucket: a.Bucket, config: o.Config}
	if sse := a.Param("sse"); sse != "" {
		d.sse = &sse
	}
	if key := a.Param("kms_key"); key != "" {
		d.kmsKey = &key
	}
	return objectblob.New(objectblob.Options{
		Config: o.Config, Driver: d, Bucket: a.Bucket, Prefix: a.Prefix, Spool: o.Spool, Breaker: o.Breaker,
		Traffic: traffic, Log: o.Log, MD5: true,
	})
}

// driver is an objectblob.Driver.
type driver struct {
	client      *oss.Client
	transport   *http.Transport
	bucket      string
	sse, kmsKey *string // nil is what the bucket does
	config      objectblob.Config
}

var _ objectblob.Driver = (*driver)(nil)

// noted is the key of metadata that an object's digest is noted under.
const noted = "sha256"

// Put implements objectblob.Driver. The service checks the MD5 of what comes in
// one request, and the client the CRC-64 of parts, before they become an object.
func (d *driver) Put(ctx context.Context, key string, body io.ReadSeeker, c objectblob.Content) error {
	request := &oss.PutObjectRequest{
		Bucket: &d.bucket, Key: &key, ContentType: &c.Type, Metadata: map[string]string{noted: c.SHA256},
		ServerSideEncryption: d.sse, ServerSideEncryptionKeyId: d.kmsKey,
	}
	if c.Bytes <= d.config.PartBytes {
		sum := base64.StdEncoding.EncodeToString(c.MD5)
		request.Body, request.ContentMD5 = body, &sum
		_, err := d.client.PutObject(ctx, request)
		return d.classify(err)
	}
	_, err := d.client.NewUploader(func(o *oss.UploaderOptions) {
		o.PartSize, o.ParallelNum = d.partBytes(c.Bytes), d.config.Parallel
	}).UploadFrom(ctx, request, body)
	return d.classify(err)
}

// maxParts is how many an object may have.
const maxParts = 10_000

func (d *driver) partBytes(size int64) int64 {
	return max(d.config.PartBytes, (size+maxParts-1)/maxParts)
}

// Get implements objectblob.Driver.
func (d *driver) Get(ctx context.Context, key string, offset, length int64, version string) (io.ReadCloser, objectblob.Object, error) {
	request := &oss.GetObjectRequest{Bucket: &d.bucket, Key: &key}
	if version != "" {
		request.IfMatch = &version
	}
	if span := ""; offset > 0 || length >= 0 {
		if span = fmt.Sprintf("bytes=%d-", offset); length >= 0 {
			span += strconv.FormatInt(offset+length-1, 10)
		}
		request.Range, request.RangeBehavior = &span, oss.Ptr("standard") // or all of it comes where the range is wrong
	}
	got, err := d.client.GetObject(ctx, request)
	if err != nil {
		return nil, objectblob.Object{}, d.classify(err)
	}
	size := got.ContentLength
	if _, total, ok := strings.Cut(oss.ToString(got.ContentRange), "/"); ok {
		if size, err = strconv.ParseInt(total, 10, 64); err != nil {
			_ = got.Body.Close()
			return nil, objectblob.Object{}, d.classify(err)
		}
	}
	return got.Body, object(key, size, got.LastModified, got.ETag, got.Metadata, got.Headers), nil
}

// Head implements objectblob.Driver.
func (d *driver) Head(ctx context.Context, key string) (objectblob.Object, error) {
	got, err := d.client.HeadObject(ctx, &oss.HeadObjectRequest{Bucket: &d.bucket, Key: &key})
	if err != nil {
		return objectblob.Object{}, d.classify(err)
	}
	return object(key, got.ContentLength, got.LastModified, got.ETag, got.Metadata, got.Headers), nil
}

func object(key string, size int64, modified *time.Time, tag *string, metadata map[string]string, headers http.Header) objectblob.Object {
	o := objectblob.Object{Key: key, Bytes: size, Version: oss.ToString(tag), SHA256: metadata[noted]}
	if modified != nil {
		o.Modified = *modified
	}
	o.Asked, _ = http.ParseTime(headers.Get("Date"))
	return o
}

// Delete implements objectblob.Driver. OSS has no condition for it.
func (d *driver) Delete(ctx context.Context, key, _ string) error {
	_, err := d.client.DeleteObject(ctx, &oss.DeleteObjectRequest{Bucket: &d.bucket, Key: &key})
	err = d.classify(err)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	return err
}

// pageObjects is how many objects a page of List has at most.
const pageObjects = 1000

// List implements objectblob.Driver.
func (d *driver) List(ctx context.Context, prefix, after string, limit int) ([]objectblob.Object, string, error) {
	if limit == 0 {
		limit = pageObjects
	}
	request := &oss.ListObjectsV2Request{Bucket: &d.bucket, Prefix: &prefix, MaxKeys: int32(limit)} //nolint:gosec // it is at most 1000
	if after != "" {
		request.ContinuationToken = &after
	}
	got, err := d.client.ListObjectsV2(ctx, request)
	if err != nil {
		return nil, "", d.classify(err)
	}
	page := make([]objectblob.Object, len(got.Contents))
	for i, o := range got.Contents {
		page[i] = object(oss.ToString(o.Key), o.Size, o.LastModified, o.ETag, nil, nil)
	}
	return page, oss.ToString(got.NextContinuationToken), nil
}

// Close implements objectblob.Driver.
func (d *driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

func (d *driver) classify(err error) error {
	status, code := 0, ""
	if known := (*oss.ServiceError)(nil); errors.As(err, &known) {
		status, code = known.StatusCode, known.Code
	}
	if code == "BadErrorResponse" { // the client's own word for an answer without one
		code = ""
	}
	return objectblob.Classify(err, status, code, d.bucket)
}
