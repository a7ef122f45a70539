package cdkblob

import (
	"context"
	"net/http"
	"time"

	"safelight/internal/objectblob"
)

// tuned is a transport with times, which notes the service's clock for a request
// whose context asks for it.
func tuned(c objectblob.Config) http.RoundTripper {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	objectblob.Tune(t, c.Stall)
	return clocked{t}
}

type clocked struct{ *http.Transport }

type clockKey struct{}

// withClock makes a context in which the clock of the last answer is noted.
func withClock(ctx context.Context) (context.Context, *time.Time) {
	at := new(time.Time)
	return context.WithValue(ctx, clockKey{}, at), at
}

// RoundTrip implements http.RoundTripper.
func (c clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.Transport.RoundTrip(r)
	if at, ok := r.Context().Value(clockKey{}).(*time.Time); ok && err == nil {
		*at, _ = http.ParseTime(res.Header.Get("Date"))
	}
	return res, err
}
