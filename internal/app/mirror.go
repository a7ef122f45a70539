package app

import (
	"fmt"
	"maps"
	"slices"

	"safelight/internal/blob"
	"safelight/internal/ingest"
	"safelight/internal/mirror"
	"safelight/internal/objectblob"
	"safelight/internal/telemetry"
	"safelight/internal/work"
)

// openMirrors makes the service that keeps images in step with buckets, and puts
// it behind its functions.
func (a *App) openMirrors(intake *ingest.Service, metrics *telemetry.Metrics) {
	stores := make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Mirror.Mirrors)) {
		label := "mirror " + name
		open := a.bucket(a.config.Mirror.Mirrors[name].URL, objectblob.NewBreaker(a.config.Objects, label, a.log), label, metrics)
		late := blob.NewLate(func() (blob.Store, error) { return a.openDestination(label, open) })
		if _, err := late.Store(); err != nil {
			a.log.Warn("a mirror can't be used; it is tried again when it is needed", "mirror", name, "error", err)
		}
		stores[name] = late
	}
	a.mirrors = mirror.New(a.config.Mirror, mirror.Deps{
		Stores: stores, Ingest: intake, Purge: a.purge, Catalog: a.db, Queue: a.tasks, Log: a.log,
	})
	a.mirrors.Bind(a.functions)
}

// scans are the tasks that look at all of each mirror from time to time.
func (a *App) scans(periodic map[string]work.Periodic) {
	for name, p := range a.config.Mirror.Mirrors {
		if every := p.Interval(); every > 0 {
			periodic[fmt.Sprintf("%s-%s", mirror.Scan, name)] = work.Periodic{
				Function: mirror.Scan, Every: every, Owner: p.OwnerName(), Args: map[string]any{"mirror": name}, AtStart: true,
			}
		}
	}
}
