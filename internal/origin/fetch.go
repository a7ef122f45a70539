package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"safelight/internal/fault"
	"safelight/internal/remote"
)

// Metrics counts fetches. Implementations are safe for concurrent use. outcome
// is "fetched", "unchanged" or the name of a kind of error.
type Metrics interface {
	Fetch(outcome string, bytes int64, d time.Duration)
}

const (
	maxHeader     = 64 << 10 // bytes of an answer's header
	maxValidator  = 1024     // bytes of an entity tag or a date
	waitingFactor = 8        // fetches that may wait, for each that may run
)

// Fetcher fetches files. It is safe for concurrent use.
type Fetcher struct {
	config   Config
	maxBytes int64
	agent    string
	metrics  Metrics
	guard    *guard
	dialer   *dialer
	http     *http.Transport
	turns    chan struct{} // held by fetches under way
	waiting  atomic.Int64
}

// New makes a fetcher of files of at most maxBytes. The version goes into
// User-Agent.
func New(config Config, maxBytes int64, version string, metrics Metrics) (*Fetcher, error) {
	g, err := newGuard(config)
	if err != nil {
		return nil, err
	}
	d := newDialer(g)
	f := &Fetcher{config: config, maxBytes: maxBytes, agent: "Safelight/" + version, metrics: metrics, guard: g, dialer: d,
		turns: make(chan struct{}, config.Concurrency)}
	// No proxy of the environment: it would resolve and connect in our place.
	// No connection is used twice, so that each request's was checked for it.
	f.http = &http.Transport{
		DialContext: d.dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		ResponseHeaderTimeout: config.FirstByte, TLSHandshakeTimeout: config.FirstByte,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	return f, nil
}

// Clean checks a URL without fetching it, and gives its one spelling. One that
// is no URL is fault.Invalid, one that may not be fetched fault.Denied.
func (f *Fetcher) Clean(rawURL string) (string, error) {
	u, err := f.guard.clean(rawURL)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// Fetch asks for a URL; with validators, only for what is not as they say. The
// answer's Body must be closed. What may not be fetched is fault.Denied, what
// the origin does wrong fault.Upstream or fault.Timeout, and more fetches than
// may wait fault.Unavailable; errors of Body are of these kinds too, and
// fault.TooLarge beyond the limit.
func (f *Fetcher) Fetch(ctx context.Context, rawURL string, since remote.Validators) (*remote.Fetched, error) {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	ctx, stop := context.WithTimeoutCause(ctx, f.config.Timeout,
		fault.New(fault.Timeout, "the fetch took longer than %s (remote.timeout)", f.config.Timeout))
	end := func(outcome string, bytes int64, err error) {
		stop()
		cancel(nil)
		if err != nil {
			outcome = fault.Of(err).String()
		}
		f.metrics.Fetch(outcome, bytes, time.Since(start))
	}
	leave, err := f.enter(ctx)
	if err != nil {
		end("", 0, err)
		return nil, err
	}
	answer, err := f.follow(ctx, rawURL, since)
	if err != nil {
		leave()
		end("", 0, err)
		return nil, err
	}
	fetched := &remote.Fetched{Validators: validators(answer.Header)}
	if answer.StatusCode == http.StatusNotModified {
		_ = answer.Body.Close()
		leave()
		end("unchanged", 0, nil)
		fetched.Unchanged, fetched.Body = true, http.NoBody
		return fetched, nil
	}
	fetched.Body = newBody(ctx, cancel, answer.Body, f.maxBytes, f.config.Stall, func(bytes int64, err error) {
		leave()
		end("fetched", bytes, err)
	})
	return fetched, nil
}

// enter waits for a turn; leave gives it back.
func (f *Fetcher) enter(ctx context.Context) (leave func(), err error) {
	defer f.waiting.Add(-1)
	if f.waiting.Add(1) > int64(waitingFactor*cap(f.turns)) {
		return nil, &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Second, Message: "too many fetches are waiting (remote.concurrency); try again soon"}
	}
	select {
	case f.turns <- struct{}{}:
		return func() { <-f.turns }, nil
	case <-ctx.Done():
		return nil, classify(ctx, ctx.Err())
	}
}

// follow asks for a URL and goes on where it is sent, checking each URL as the
// first one. The answer is a 200, or a 304 to validators.
func (f *Fetcher) follow(ctx context.Context, rawURL string, since remote.Validators) (*http.Response, error) {
	u, err := f.guard.clean(rawURL)
	if err != nil {
		return nil, err
	}
	for hop := 0; ; hop++ {
		answer, err := f.ask(ctx, u, since)
		if err != nil {
			return nil, err
		}
		switch answer.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			if err := f.check(answer, since); err != nil {
				_ = answer.Body.Close()
				return nil, err
			}
			return answer, nil
		}
		_ = answer.Body.Close()
		if hop == f.config.Redirects {
			return nil, fault.New(fault.Upstream, "the origin redirects more than %d times (remote.redirects)", f.config.Redirects)
		}
		if u, err = f.next(u, answer.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
}

// next is where a redirect leads. Why it may not be followed is for the log:
// its URL is the origin's, not the client's.
func (f *Fetcher) next(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, fault.New(fault.Upstream, "the origin redirects to nowhere")
	}
	next, err := f.guard.clean(to.String())
	if err == nil && from.Scheme == "https" && next.Scheme != "https" {
		err = errors.New("from https to http")
	}
	if err != nil {
		return nil, &fault.Error{Kind: fault.Denied, Code: "redirect-refused", Message: "the origin redirects to a URL that may not be fetched", Cause: err}
	}
	return next, nil
}

// ask makes one request.
func (f *Fetcher) ask(ctx context.Context, u *url.URL, since remote.Validators) (*http.Response, error) {
	r := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
		"Accept": {"image/*"}, "Accept-Encoding": {"identity"}, "User-Agent": {f.agent},
	}}).WithContext(ctx)
	if since.ETag != "" {
		r.Header.Set("If-None-Match", since.ETag)
	}
	if since.LastModified != "" {
		r.Header.Set("If-Modified-Since", since.LastModified)
	}
	answer, err := f.http.RoundTrip(r) // not a Client: its errors tell URLs, and it follows by itself
	if err != nil {
		return nil, classify(ctx, err)
	}
	return answer, nil
}

// check refuses answers that bring no file.
func (f *Fetcher) check(answer *http.Response, since remote.Validators) error {
	switch status := answer.StatusCode; {
	case status == http.StatusNotModified && since != (remote.Validators{}):
		return nil
	case status == http.StatusNotFound || status == http.StatusGone:
		return &fault.Error{Kind: fault.Upstream, Code: remote.Gone, Message: "the origin says that there is no such file"}
	case status != http.StatusOK:
		return fault.New(fault.Upstream, "the origin answered with the status %d", status)
	}
	for _, encoding := range answer.Header.Values("Content-Encoding") {
		if encoding = strings.TrimSpace(encoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
			return fault.New(fault.Upstream, "the origin sent the file compressed (Content-Encoding), which it was asked not to")
		}
	}
	if answer.ContentLength > f.maxBytes {
		return tooLarge(f.maxBytes, answer.ContentLength)
	}
	return nil
}

// validators are what an answer can be asked for again by.
func validators(h http.Header) remote.Validators {
	v := remote.Validators{ETag: h.Get("Etag"), LastModified: h.Get("Last-Modified")}
	if len(v.ETag) > maxValidator {
		v.ETag = ""
	}
	if len(v.LastModified) > maxValidator {
		v.LastModified = ""
	}
	return v
}
