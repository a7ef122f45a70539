//go:build clouds

package cdkblob

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azblobblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

func checkAzure(a objectblob.Address) error {
	_, err := a.Endpoint()
	return err
}

func openAzure(_ context.Context, a objectblob.Address, c objectblob.Config, m *objectblob.Traffic) (*driver, error) {
	service, err := azureService(a)
	if err != nil {
		return nil, err
	}
	retries := c.Attempts - 1
	if retries == 0 {
		retries = -1 // 0 is what the library likes
	}
	o := azcore.ClientOptions{
		Transport: &http.Client{Transport: tuned(c, m), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Retry:     policy.RetryOptions{MaxRetries: int32(retries), RetryDelay: firstPause, MaxRetryDelay: longestPause}, //nolint:gosec // it is small
	}
	o.PerCallPolicies = []policy.Policy{summed{}}
	client, err := azureClient(service, o)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, scrubAzure(err), "the credentials for Azure can't be used")
	}
	bucket, err := azureblob.OpenBucket(context.Background(), client, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the container can't be used")
	}
	return &driver{bucket: bucket, dialect: azureDialect{}}, nil
}

// scrubAzure leaves out what may have a signed address.
func scrubAzure(err error) error {
	if at := (*url.Error)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}

// summed gives an upload in one request the checksum of its body, which the
// library only notes as the object's. Parts have one already.
type summed struct{}

// Do implements policy.Policy.
func (summed) Do(r *policy.Request) (*http.Response, error) {
	header := r.Raw().Header
	if r.Raw().Method == http.MethodPut && field(header, "x-ms-blob-type") == "BlockBlob" {
		if sum := field(header, "x-ms-blob-content-md5"); sum != "" {
			header.Set("Content-MD5", sum)
		}
	}
	return r.Next()
}

// field finds what the library has set, in lower case.
func field(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return h.Get(name)
}

// azureService is the container's URL without a signature.
func azureService(a objectblob.Address) (string, error) {
	o := azureblob.NewDefaultServiceURLOptions() // from the environment
	o.SASToken = ""
	o.AccountName = cmp.Or(a.Param("account"), o.AccountName)
	if o.AccountName == "" {
		return "", fault.New(fault.Invalid, "url: the account is missing; add account=… or set AZURE_STORAGE_ACCOUNT")
	}
	endpoint, err := a.Endpoint()
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(endpoint); err == nil && endpoint != "" {
		o.Protocol, o.StorageDomain = u.Scheme, u.Host
	}
	service, err := azureblob.NewServiceURL(o)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "the address of the account can't be made")
	}
	return url.JoinPath(string(service), a.Bucket)
}

// azureClient looks for credentials where the Go CDK does, in its order. That has
// no way to give it times.
func azureClient(service string, o azcore.ClientOptions) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: o}
	account, key := os.Getenv("AZURE_STORAGE_ACCOUNT"), os.Getenv("AZURE_STORAGE_KEY")
	if account != "" && key != "" {
		shared, err := azblobblob.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, err
		}
		return container.NewClientWithSharedKeyCredential(service, shared, options)
	}
	if signature := os.Getenv("AZURE_STORAGE_SAS_TOKEN"); signature != "" {
		return container.NewClientWithNoCredential(service+"?"+signature, options)
	}
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: o})
	if err != nil {
		return nil, err
	}
	return container.NewClient(service, found, options)
}

// azureDialect is what Azure has of its own. The MD5 that it tells of an object
// is what it was told, so nothing is held against it; each request of an upload
// has a checksum that it checks.
type azureDialect struct{}

func (azureDialect) pinRead(as func(any) bool, version string) {
	if o := (*azblobblob.DownloadStreamOptions)(nil); as(&o) {
		o.AccessConditions = ifMatch(version)
	}
}

func (azureDialect) pinDelete(as func(any) bool, version string) {
	if o := (*azblobblob.DeleteOptions)(nil); as(&o) {
		o.AccessConditions = ifMatch(version)
	}
}

func ifMatch(version string) *azblobblob.AccessConditions {
	tag := azcore.ETag(version)
	return &azblobblob.AccessConditions{ModifiedAccessConditions: &azblobblob.ModifiedAccessConditions{IfMatch: &tag}}
}

func (azureDialect) write(as func(any) bool, c objectblob.Content) {
	if o := (*blockblob.UploadStreamOptions)(nil); as(&o) {
		o.TransactionalValidation = azblobblob.TransferValidationTypeComputeCRC64()
		o.HTTPHeaders.BlobContentMD5 = c.MD5
	}
}

func (azureDialect) opened(r *blob.Reader, o *objectblob.Object) {
	var out azblobblob.DownloadStreamResponse
	if r.As(&out) && out.ETag != nil {
		o.Version = string(*out.ETag)
	}
}

func (azureDialect) looked(at *blob.Attributes, o *objectblob.Object) {
	var out azblobblob.GetPropertiesResponse
	if at.As(&out) && out.ETag != nil {
		o.Version = string(*out.ETag)
	}
}

func (azureDialect) explain(err error) (status int, code string) {
	if answer := (*azcore.ResponseError)(nil); errors.As(err, &answer) {
		return answer.StatusCode, answer.ErrorCode
	}
	return 0, ""
}
