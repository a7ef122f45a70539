package app

import (
	"context"
	"path/filepath"

	"safelight/internal/catalog"
	"safelight/internal/postgres"
	"safelight/internal/sqlite"
	"safelight/internal/task"
	"safelight/internal/telemetry"
)

// database is what a server needs of the one it is configured with.
type database interface {
	catalog.Catalog
	catalog.Janitor
	catalog.Renditions
	catalog.Publications
	catalog.Expiry
	catalog.Reconciliation
	catalog.Recompressions
	catalog.Census
	Close() error
}

// queue is the same of its tasks.
type queue interface {
	task.Queue
	task.Keeper
	task.Outputs
}

// openDatabase opens the catalog: PostgreSQL where it is configured, otherwise a
// file in the data directory.
func (a *App) openDatabase(ctx context.Context) error {
	if a.config.Database.URL == "" {
		db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(a.config.Data, "catalog.db")})
		if err != nil {
			return err
		}
		a.db, a.registry = db, db.Nodes()
		a.openQueue = func(ctx context.Context, c task.Config) (queue, error) { return db.Tasks(ctx, c) }
		return nil
	}
	db, err := postgres.Open(ctx, a.config.Database, a.log)
	if err != nil {
		return err
	}
	a.db, a.shared, a.registry, a.home.Fence = db, db, db.Nodes(), db
	a.openQueue = func(ctx context.Context, c task.Config) (queue, error) { return db.Tasks(ctx, c) }
	return nil
}

// ownDir is a directory of this node alone. Nodes that share a database may share
// the data directory too, and each has its own in it.
func (a *App) ownDir(name string) string {
	if a.config.Database.URL == "" {
		return filepath.Join(a.config.Data, name)
	}
	return filepath.Join(a.config.Data, name+"-"+a.config.Node)
}

// watchMoves has answers forgotten that were prepared from what another node has
// changed since, and renditions of what it has deleted.
func (a *App) watchMoves() {
	if a.shared == nil && a.redis == nil {
		return
	}
	ear := a.purge.Ear()
	a.closers = append(a.closers, ear.Close)
	a.tellThroughRedis(ear)
	if a.shared != nil {
		a.shared.OnMoves(postgres.Moves{Moved: ear.Hear, Lost: ear.Lost})
	}
}

// observeDatabase registers the state of the pool of connections, where there is
// one.
func (a *App) observeDatabase(m *telemetry.Metrics) {
	if a.shared == nil {
		return
	}
	m.Database(func() telemetry.Connections {
		s := a.shared.Stats()
		return telemetry.Connections{
			Acquired: s.Acquired, Idle: s.Idle, Total: s.Total, Max: s.Max,
			Acquires: s.Acquires, Wait: s.AcquireWait, EmptyAcquires: s.EmptyAcquires, Timeouts: s.Timeouts, Stops: s.Stops,
		}
	})
}
