package cdkblob

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

func checkS3(a objectblob.Address) error {
	sse, err := a.Choice("sse", string(types.ServerSideEncryptionAes256), string(types.ServerSideEncryptionAwsKms))
	if err != nil {
		return err
	}
	if a.Param("kms_key") != "" && sse != string(types.ServerSideEncryptionAwsKms) {
		return fault.New(fault.Invalid, "url: kms_key needs sse=aws:kms")
	}
	if _, err = a.Choice("path_style", "true", "false"); err != nil {
		return err
	}
	if _, err = a.Choice("checksums", "always", "required"); err != nil {
		return err
	}
	_, err = a.Endpoint()
	return err
}

// longestPause bounds the time between two attempts of a request.
const longestPause = 5 * time.Second

func openS3(ctx context.Context, a objectblob.Address, c objectblob.Config, m *objectblob.Traffic) (*driver, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { m.Tune(t, c.Stall) })
	// Others than Amazon may not know the newer checksums of requests.
	checksums := aws.RequestChecksumCalculationWhenSupported
	if a.Param("checksums") == "required" {
		checksums = aws.RequestChecksumCalculationWhenRequired
	}
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(client), awsconfig.WithLogger(logging.Nop{}), awsconfig.WithRequestChecksumCalculation(checksums),
		// Whoever reads holds the bytes against a digest.
		awsconfig.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		awsconfig.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = c.Attempts, longestPause })
		}),
	}
	if region := a.Param("region"); region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the settings of the S3 client can't be read")
	}
	endpoint, err := a.Endpoint()
	if err != nil {
		return nil, err
	}
	if config.Region == "" {
		if endpoint == "" {
			return nil, fault.New(fault.Invalid, "url: the region is missing; add region=… or set AWS_REGION")
		}
		config.Region = "us-east-1" // what services without regions expect
	}
	service := s3.NewFromConfig(config, func(o *s3.Options) {
		o.UsePathStyle = a.Param("path_style") == "true"
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})
	bucket, err := s3blob.OpenBucket(ctx, service, a.Bucket, &s3blob.Options{
		EncryptionType: types.ServerSideEncryption(a.Param("sse")), KMSEncryptionID: a.Param("kms_key"), RequestChecksumCalculation: checksums,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the bucket can't be used")
	}
	d := s3Dialect{client: service, bucket: a.Bucket, sse: types.ServerSideEncryption(a.Param("sse")), sums: a.Param("checksums") != "required"}
	if key := a.Param("kms_key"); key != "" {
		d.kmsKey = &key
	}
	return &driver{bucket: bucket, dialect: d}, nil
}

// s3Dialect is what S3 has of its own. Its entity tag may be an MD5, but need
// not, so objects are not held against it: uploads have a checksum that the
// service checks.
type s3Dialect struct {
	client *s3.Client
	bucket string
	sse    types.ServerSideEncryption
	kmsKey *string // nil is the bucket's
	sums   bool    // the service knows SHA-256 checksums
}

// wholeBytes is the largest object that goes in one request.
const wholeBytes = 16 << 20

// put implements putter. The SHA-256 is known, so it is not computed again for
// the signature, and the service holds the bytes against it.
func (d s3Dialect) put(ctx context.Context, key string, body io.ReadSeeker, c objectblob.Content) (done bool, err error) {
	if c.Bytes > wholeBytes || strings.ContainsFunc(key, unicode.IsControl) { // which the CDK writes otherwise
		return false, nil
	}
	sum, err := hex.DecodeString(c.SHA256)
	if err != nil {
		return false, fmt.Errorf("a digest that is none: %w", err)
	}
	in := &s3.PutObjectInput{
		Bucket: &d.bucket, Key: &key, Body: body, ContentLength: &c.Bytes, ContentType: &c.Type,
		Metadata: map[string]string{noted: c.SHA256}, ServerSideEncryption: d.sse, SSEKMSKeyId: d.kmsKey,
	}
	if d.sums {
		in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	_, err = d.client.PutObject(ctx, in, s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(knownHash(c.SHA256), (*v4.ComputePayloadSHA256)(nil).ID(), middleware.Before)
	}))
	return true, err
}

// knownHash is the hash of a body for its signature.
type knownHash string

// ID implements middleware.FinalizeMiddleware.
func (knownHash) ID() string { return "KnownPayloadHash" }

// HandleFinalize implements middleware.FinalizeMiddleware.
func (h knownHash) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	return next.HandleFinalize(v4.SetPayloadHash(ctx, string(h)), in)
}

func (s3Dialect) pinRead(as func(any) bool, version string) {
	if in := (*s3.GetObjectInput)(nil); as(&in) {
		in.IfMatch = &version
	}
}

func (s3Dialect) pinDelete(as func(any) bool, version string) {
	if in := (*s3.DeleteObjectInput)(nil); as(&in) {
		in.IfMatch = &version
	}
}

func (s3Dialect) write(func(any) bool, objectblob.Content) {}

func (s3Dialect) opened(r *blob.Reader, o *objectblob.Object) {
	var out s3.GetObjectOutput
	if r.As(&out) {
		o.Version, o.SHA256 = aws.ToString(out.ETag), out.Metadata[noted]
		o.Asked, _ = awsmiddleware.GetServerTime(out.ResultMetadata)
	}
}

func (s3Dialect) looked(at *blob.Attributes, o *objectblob.Object) {
	var out s3.HeadObjectOutput
	if at.As(&out) {
		o.Version = aws.ToString(out.ETag)
		o.Asked, _ = awsmiddleware.GetServerTime(out.ResultMetadata)
	}
}

func (s3Dialect) explain(err error) (status int, code string) {
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	if known := smithy.APIError(nil); errors.As(err, &known) {
		code = known.ErrorCode()
	}
	return status, code
}
