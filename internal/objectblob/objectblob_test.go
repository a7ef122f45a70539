package objectblob

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
)

func TestLatest(t *testing.T) {
	t.Parallel()
	ours := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	theirs := ours.Add(-3 * time.Hour) // their clock
	for _, c := range []struct {
		o    Object
		want time.Time
	}{
		{Object{Modified: theirs.Add(-time.Minute), Asked: theirs}, ours.Add(-time.Minute + rounding)},
		{Object{Modified: theirs, Asked: theirs}, ours.Add(rounding)},
		{Object{Modified: theirs.Add(time.Second), Asked: theirs}, ours.Add(time.Second + rounding)}, // another of its machines
		{Object{Modified: ours.Add(-time.Minute)}, ours.Add(-time.Minute + strange)},
	} {
		if got := latest(c.o, ours); !got.Equal(c.want) {
			t.Errorf("%+v: %v; want %v", c.o, got, c.want)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for _, c := range []struct {
		status int
		code   string
		kind   fault.Kind
		says   string
	}{
		{404, "NoSuchKey", fault.NotFound, "no such blob"},
		{404, "", fault.NotFound, "no such blob"},
		{404, "BlobNotFound", fault.NotFound, "no such blob"},
		{404, "NoSuchBucket", fault.Unavailable, "there is no bucket b"},
		{404, "NoSuchAccount", fault.Unavailable, "can't be reached"},
		{412, "", fault.Precondition, "meanwhile"},
		{409, "ConditionalRequestConflict", fault.Precondition, "meanwhile"},
		{403, "", fault.Unavailable, "access to the bucket b was denied"},
		{403, "SignatureDoesNotMatch", fault.Unavailable, "access to the bucket b was denied"},
		{400, "ExpiredToken", fault.Unavailable, "access to the bucket b was denied"},
		{429, "", fault.Unavailable, "at the moment"},
		{503, "SlowDown", fault.Unavailable, "at the moment"},
		{400, "RequestTimeout", fault.Unavailable, "at the moment"},
		{502, "", fault.Unavailable, "at the moment"},
		{301, "PermanentRedirect", fault.Unavailable, "region"},
		{507, "", fault.OutOfSpace, "no room"},
		{403, "QuotaExceeded", fault.OutOfSpace, "no room"},
		{400, "InvalidArgument", fault.Internal, "refused"},
		{0, "", fault.Unavailable, "can't be reached"},
		{206, "", fault.Unavailable, "can't be reached"},
	} {
		err := Classify(cause, c.status, c.code, "b")
		if fault.Of(err) != c.kind || !strings.Contains(fault.As(err).Message, c.says) || !errors.Is(err, cause) {
			t.Errorf("%d %s: %v, %v; want %v, %q", c.status, c.code, fault.Of(err), err, c.kind, c.says)
		}
	}
	for code, want := range map[string]bool{"NoSuchBucket": true, "SignatureDoesNotMatch": true, "PermanentRedirect": true, "SlowDown": false, "": false} {
		if err := Classify(io.ErrUnexpectedEOF, 503, code, "b"); Lasting(err) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: lasting is %v", code, !want)
		}
	}
	if err := Classify(nil, 500, "", "b"); err != nil {
		t.Error(err)
	}
	signed := fmt.Errorf("put: %w", &url.Error{Op: "Put", URL: "https://x/y?sig=secret", Err: io.ErrUnexpectedEOF})
	if err := Classify(signed, 0, "", "b"); strings.Contains(err.Error(), "secret") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the cause is %v", err)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, bucket, prefix, says string }{
		{"s3://bucket", "bucket", "", ""},
		{"s3://bucket/", "bucket", "", ""},
		{"s3://bucket/a/b/?known=1", "bucket", "a/b", ""},
		{"s3://my.bucket/a%20b", "my.bucket", "a b", ""},
		{"s3:///a", "", "", "name of a bucket"},
		{"s3://bucket:9000/a", "", "", "name of a bucket"},
		{"s3://bucket/a//b", "", "", "can't stand"},
		{"s3://bucket/../b", "", "", "can't stand"},
		{"s3://bucket/a%00", "", "", "can't stand"},
		{"s3://bucket/a#b", "", "", "can't stand"},
		{"s3://user@bucket/a", "", "", "environment"},
		{"s3://user:hush@bucket/a", "", "", "environment"},
		{"s3://bucket/a?other=1", "", "", "there are known, endpoint"},
		{"s3://bucket/a?known=1&known=2", "", "", "more than once"},
		{"s3://bucket/a?known=%zz", "", "", "parameters"},
		{"s3://bucket\x00hush", "", "", "address"},
	} {
		a, err := ParseAddress(c.url, "known", "endpoint")
		if c.says == "" && (err != nil || a.Bucket != c.bucket || a.Prefix != c.prefix) {
			t.Errorf("%s: %+v, %v", c.url, a, err)
		}
		if c.says != "" && (fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v; want %q", c.url, err, c.says)
		}
	}
	for endpoint, want := range map[string]string{
		"": "", "http://127.0.0.1:9000": "http://127.0.0.1:9000", "https://x.example.com/": "https://x.example.com",
		"x.example.com": "bad", "https://key:hush@x": "bad", "https://x/path": "bad", "ftp://x": "bad", "https://x?a=b": "bad",
	} {
		a, err := ParseAddress("s3://b?endpoint="+url.QueryEscape(endpoint), "endpoint")
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Endpoint()
		if want == "bad" && fault.Of(err) != fault.Invalid || want != "bad" && (got != want || err != nil) {
			t.Errorf("%q: %q, %v", endpoint, got, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"part_bytes": func(c *Config) { c.PartBytes = 1 << 20 }, "parallel": func(c *Config) { c.Parallel = 0 },
		"attempts": func(c *Config) { c.Attempts = 100 }, "stall": func(c *Config) { c.Stall = 0 },
		"failures": func(c *Config) { c.Failures = 0 }, "pause": func(c *Config) { c.Pause = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "objects."+want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A connection on which one side writes for long must not be taken for one that
// stands still, because the other waits to read all the time.
func TestWatched(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	const stall = 100 * time.Millisecond
	c := &watched{near, stall, new(Traffic)}
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	for start := time.Now(); time.Since(start) < 4*stall; {
		go func() { _, _ = io.ReadFull(far, make([]byte, 1)) }()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-read:
			t.Fatalf("the read ended after %v: %v", time.Since(start), err)
		case <-time.After(stall / 10):
		}
	}
	if err := <-read; err == nil {
		t.Error("the read did not end")
	}
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("a write that nobody takes did not end")
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a/b.jpg": "image/jpeg", "b.avif": "image/avif", "b.webp": "image/webp", "b.jxl": "image/jxl", "b": "application/octet-stream", "a.b/c": "application/octet-stream",
	} {
		if got := mediaType(name); got != want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
}
