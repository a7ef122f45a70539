//go:build clouds

package cdkblob

import (
	"net/http"
	"time"

	"safelight/internal/objectblob"
)

// clouds are the services whose libraries are large: they double the program, and
// each of its processes pays for them in memory.
var clouds = map[string]service{
	"gs":     {checkGCS, openGCS, []string{"endpoint"}},
	"azblob": {checkAzure, openAzure, []string{"account", "endpoint"}},
}

// tuned is a transport with times, which notes the service's clock for a request
// whose context asks for it.
func tuned(c objectblob.Config, m *objectblob.Traffic) http.RoundTripper {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	m.Tune(t, c.Stall)
	return clocked{t}
}

type clocked struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (c clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.Transport.RoundTrip(r)
	if at, ok := r.Context().Value(clockKey{}).(*time.Time); ok && err == nil {
		*at, _ = http.ParseTime(res.Header.Get("Date"))
	}
	return res, err
}
