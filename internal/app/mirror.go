package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"safelight/internal/blob"
	"safelight/internal/config"
	"safelight/internal/ingest"
	"safelight/internal/mirror"
	"safelight/internal/telemetry"
	"safelight/internal/treeblob"
	"safelight/internal/work"
)

// openMirrorStores makes the stores that mirrors read. Those of references are
// where originals are read from later, too.
func (a *App) openMirrorStores(metrics *telemetry.Metrics) (references map[string]blob.Store) {
	a.mirrorStores, references = make(map[string]blob.Store), make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Mirror.Mirrors)) {
		place := a.config.Mirror.Mirrors[name]
		late := a.openLater("the mirror "+name, "mirror "+name, place.URL, metrics, func(o StoreOptions) (ClosingStore, error) {
			if !config.Bucket(place.URL) {
				return treeblob.Open(config.Dir(place.URL))
			}
			return OpenStore(context.Background(), place.URL, o)
		})
		a.mirrorStores[name] = late
		if place.Reference {
			references[name] = late
		}
	}
	return references
}

// openMirrors makes the service that keeps images in step with others' places,
// and puts it behind its functions.
func (a *App) openMirrors(intake *ingest.Service) {
	a.mirrors = mirror.New(a.config.Mirror, mirror.Deps{
		Stores: a.mirrorStores, Ingest: intake, Publish: a.publisher, Purge: a.purge, Catalog: a.db, Queue: a.tasks, Log: a.log,
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
