package app

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"safelight/internal/blob"
	"safelight/internal/ingest"
	"safelight/internal/mirror"
	"safelight/internal/objectblob"
	"safelight/internal/telemetry"
	"safelight/internal/treeblob"
	"safelight/internal/work"
)

// openMirrorStores makes the stores that mirrors read. Those of references are
// where originals are read from later, too.
func (a *App) openMirrorStores(metrics *telemetry.Metrics) (references map[string]blob.Store) {
	a.mirrorStores, references = make(map[string]blob.Store), make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Mirror.Mirrors)) {
		label, place := "mirror "+name, a.config.Mirror.Mirrors[name]
		open := func() (closingStore, error) { return treeblob.Open(directory(place.URL)) }
		if !strings.HasPrefix(place.URL, "file:") {
			open = a.bucket(place.URL, objectblob.NewBreaker(a.config.Objects, label, a.log), label, metrics)
		}
		late := blob.NewLate(func() (blob.Store, error) { return a.openDestination(label, open) })
		if _, err := late.Store(); err != nil {
			a.log.Warn("a mirror can't be used; it is tried again when it is needed", "mirror", name, "error", err)
		}
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

// directory is the path of a file:// address.
func directory(address string) string {
	u, err := url.Parse(address)
	if err != nil { // which was refused already
		return ""
	}
	return u.Path
}
