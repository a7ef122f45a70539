package client

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Image is what a client needs to know of a stored image.
type Image struct {
	ID     string `json:"id"`
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type images struct {
	Images     []Image `json:"images"`
	NextCursor string  `json:"next_cursor"`
}

// Images calls fn with the images whose keys begin with a prefix ("" is all),
// newest first, until fn fails.
func (c *Client) Images(ctx context.Context, prefix string, fn func(Image) error) error {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	for {
		var page images
		if err := c.do(ctx, http.MethodGet, "/v1/images?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, img := range page.Images {
			if err := fn(img); err != nil {
				return err
			}
		}
		if page.NextCursor == "" {
			return nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

// ImageAt finds the image that a key points at, and tells whether there is one.
func (c *Client) ImageAt(ctx context.Context, key string) (Image, bool, error) {
	var page images
	err := c.do(ctx, http.MethodGet, "/v1/images?"+url.Values{"key": {key}}.Encode(), nil, &page)
	if err != nil || len(page.Images) == 0 {
		return Image{}, false, err
	}
	return page.Images[0], true, nil
}

// Delete removes an image by its id; one that is gone already is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	resp, err := c.ask(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(id), nil)
	var no *Error
	if errors.As(err, &no) && no.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Rule says what Put does with a key that exists.
type Rule uint8

// The rules.
const (
	Refuse  Rule = iota // it is an Error with the status 412
	Replace             // it points at the new image from then on
)

// File is what Put sends.
type File struct {
	Key    string
	Body   io.Reader
	Bytes  int64
	SHA256 [32]byte // the server refuses other bytes
	Rule   Rule
}

// expectBytes is from where on a server is asked before a file is sent.
const expectBytes = 64 << 10

// Put stores a file under a key.
func (c *Client) Put(ctx context.Context, f File) (Image, error) {
	segments := strings.Split(f.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	var body io.Reader = io.NopCloser(f.Body) // the caller closes it
	if f.Bytes == 0 {
		body = http.NoBody // otherwise 0 is taken for unknown
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, c.server+"/images/"+strings.Join(segments, "/"), body)
	if err != nil {
		return Image{}, err
	}
	r.ContentLength = f.Bytes
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(f.SHA256[:])+":")
	if f.Bytes > expectBytes {
		r.Header.Set("Expect", "100-continue") // a refusal then comes before the body has broken off
	}
	if f.Rule == Refuse {
		r.Header.Set("If-None-Match", "*")
	}
	img := Image{SHA256: hex.EncodeToString(f.SHA256[:]), Key: f.Key}
	resp, err := c.send(r)
	if err != nil {
		return img, err
	}
	defer resp.Body.Close()
	return img, c.read(ctx, resp, &img)
}

// Passing tells errors after which another try may succeed: the server can't be
// reached, or says that it can't answer now.
func Passing(err error) bool {
	var gone *unreachable
	var no *Error
	return errors.As(err, &gone) || errors.As(err, &no) && (no.Status == http.StatusTooManyRequests || no.Status >= 500)
}

// Unreachable tells errors of servers that do not answer.
func Unreachable(err error) bool {
	var gone *unreachable
	return errors.As(err, &gone)
}

// Fatal tells errors that every other request would have too: nobody answers, or
// the key lets nobody in.
func Fatal(err error) bool {
	status := Status(err)
	return Unreachable(err) || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// Lasting tells answers that the same request would get again, until somebody
// changes the key, its rights or the request.
func Lasting(err error) bool {
	switch Status(err) {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

// Taken tells the error of Put with Refuse that the key exists.
func Taken(err error) bool { return Status(err) == http.StatusPreconditionFailed }

// Status is the status of an answer that says no; 0 for other errors.
func Status(err error) int {
	var no *Error
	if errors.As(err, &no) {
		return no.Status
	}
	return 0
}
