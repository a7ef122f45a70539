package app

import (
	"safelight/internal/ingest"
	"safelight/internal/origin"
	"safelight/internal/remote"
	"safelight/internal/telemetry"
)

// openRemote makes the service of images that come by URL. While remote.hosts
// is empty it refuses them all.
func (a *App) openRemote(intake *ingest.Service, metrics *telemetry.Metrics, version string) (*remote.Service, error) {
	c := a.config.Remote
	fetcher, err := origin.New(c.Origin, a.config.Ingest.MaxFileBytes, version, metrics.Fetches())
	if err != nil {
		return nil, err
	}
	signer, err := remote.NewSigner(c.Shown)
	if err != nil {
		return nil, err
	}
	s := remote.New(c.Shown, remote.Deps{Origin: fetcher, Ingest: intake, Purge: a.purge, Catalog: a.catalog, Signer: signer, Log: a.log})
	metrics.Counter("remote_stale_total", "Remote images shown as stored although their origin could not be asked again.", nil,
		func() float64 { return float64(s.Stale()) })
	return s, nil
}
