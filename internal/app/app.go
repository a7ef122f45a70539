// Package app wires the parts into a server, by hand and in one place, and runs
// it until it is told to stop.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/codec"
	"safelight/internal/config"
	"safelight/internal/fastlane"
	"safelight/internal/fault"
	"safelight/internal/httpapi"
	"safelight/internal/ingest"
	"safelight/internal/memcache"
	"safelight/internal/mirror"
	"safelight/internal/node"
	"safelight/internal/pipeline"
	"safelight/internal/plan"
	"safelight/internal/postgres"
	"safelight/internal/publish"
	"safelight/internal/purge"
	"safelight/internal/recall"
	"safelight/internal/recompress"
	"safelight/internal/render"
	"safelight/internal/sealblob"
	"safelight/internal/task"
	"safelight/internal/telemetry"
	"safelight/internal/work"
)

// App is a server with everything it needs.
type App struct {
	config     config.Config
	log        *slog.Logger
	bare       blob.Store // where sources lie, as they lie there: encrypted or not, and nothing kept
	store      blob.Store // the home store
	keys       *sealblob.Keys
	blobs      *blobcache.Cache
	recalled   keeper // what was brought back to this node, in blobs
	home       *blob.Home
	reached    atomic.Bool // the home store has answered once
	identified atomic.Bool // it is known to be this installation\'s
	db         database
	codec      *codec.Pool
	disk       cache.Cache
	purge      *purge.Service
	api        *httpapi.Server
	mu         sync.Mutex // guards closers once the server runs
	closers    []func() error

	registry  node.Registry
	nodes     *node.Membership
	shared    *postgres.DB    // what db is where nodes share it; nil otherwise
	catalog   catalog.Catalog // db, remembered where that pays
	redis     *remembering    // nil where it is not configured
	openQueue func(context.Context, task.Config) (queue, error)
	tasks     queue
	signals   *task.Signals
	functions map[string]work.Function
	policies  task.Policies
	pipeline  *pipeline.Service
	engine    *work.Engine

	recompress *recompress.Service
	restores   bool // sources are, or may have to be, restored from JPEG XL

	destinations map[string]blob.Store
	mirrors      *mirror.Service
	mirrorStores map[string]blob.Store
	publisher    *publish.Service
}

const (
	headerTime   = 10 * time.Second
	idleTime     = 60 * time.Second
	maxHeader    = 32 << 10
	serverMemory = 96 << 20 // what the process may hold beside its memory cache before the collector works harder
)

// Open makes a server: it opens the store, the catalog and the caches in the
// data directory, and starts the codec processes. What it opened is closed
// again when something fails.
func Open(ctx context.Context, c config.Config, version string, log *slog.Logger) (_ *App, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	a := &App{config: c, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	// Little is alive at any time, so the collector may wait longer than
	// usual, until the limit makes it hurry.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(serverMemory + 2*c.Cache.MemoryBytes)
	if err := os.MkdirAll(c.Data, 0o750); err != nil {
		return nil, fmt.Errorf("the data directory can't be used: %w", err)
	}
	metrics := telemetry.New(version)
	if err := a.openHome(ctx, metrics); err != nil {
		return nil, err
	}
	if err := a.openDatabase(ctx); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.db.Close)
	if err := a.checkHome(ctx); err != nil {
		return nil, err
	}
	if err := a.openDisk(); err != nil {
		return nil, err
	}
	if a.codec, err = codec.Open(ctx, c.Codec, log); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.codec.Close)
	return a, a.serve(ctx, version, metrics)
}

// serve makes the services and the transport over what is open.
func (a *App) serve(ctx context.Context, version string, metrics *telemetry.Metrics) error {
	secret, err := a.db.Secret(ctx, "ids", func() []byte {
		b := make([]byte, 32)
		_, _ = rand.Read(b)
		return b
	})
	if err != nil {
		return fmt.Errorf("read the secret of ids: %w", err)
	}
	keys, err := auth.NewStatic(a.config.Auth.Keys)
	if err != nil {
		return err
	}
	memory, err := memcache.New(memcache.Config{MaxBytes: a.config.Cache.MemoryBytes})
	if err != nil {
		return err
	}
	mint := asset.NewMint(secret)
	if err := a.openTasks(ctx, mint); err != nil {
		return err
	}
	codecs := worker{a.codec}
	a.config.Render.Plan.AutoFormats = a.writable("render.auto_formats", a.config.Render.Plan.AutoFormats)
	a.config.Pipeline.Formats = a.writable("pipeline.formats", a.config.Pipeline.Formats)
	if err := a.openRedis(metrics); err != nil {
		return err
	}
	a.purge = purge.New(purge.Deps{
		Catalog: a.catalog, Janitor: a.db, Outputs: a.tasks, Caches: a.caches(memory, a.disk), Blobs: recall.Purger{Cache: a.recalled}, Log: a.log,
		Farewell: func() []task.New { return a.pipeline.Farewell() },
	})
	a.watchMoves()
	renderer := render.New(a.config.Render, a.home, a.catalog, a.db, memory, a.disk, codecs, a.log)
	a.shareRenditions(renderer)
	a.observe(metrics, memory, renderer)
	a.observeDatabase(metrics)
	a.openNodes(metrics, version)
	if err := a.startPipeline(ctx, renderer, codecs, metrics); err != nil {
		return err
	}
	a.observeRecompress(metrics)
	intake := ingest.New(a.config.Ingest, a.home, a.catalog, codecs, mint, a.pipeline)
	remotes, err := a.openRemote(intake, metrics, version)
	if err != nil {
		return err
	}
	a.openMirrors(intake)
	a.api = httpapi.New(a.config.HTTP, httpapi.Deps{
		Ingest: intake, Remote: remotes, Mirrors: a.mirrors, Render: renderer, Tasks: a.taskDeps(), Pipeline: a.pipeline, Purge: a.purge,
		Catalog: a.catalog, Home: a.home, Disk: a.disk, Auth: keys, Mint: mint, Presets: a.config.Presets,
		Negotiated: plan.Accepting(slices.Concat(a.config.Render.Plan.AutoFormats, a.config.Pipeline.Formats)...),
		Metrics:    metrics, Expose: metrics.Handler(), Version: version, Log: a.log, Checks: a.checks(),
		Nodes: a.nodes, Role: a.config.Role,
	})
	if !keys.Empty() {
		return nil
	}
	if host, _, err := net.SplitHostPort(a.config.Listen); err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		a.log.Warn("no keys are configured, so only programs on this machine are let in; set auth.keys to open the server to others", "listen", a.config.Listen)
	}
	return nil
}

// checks are the dependencies that health answers for.
func (a *App) checks() []httpapi.Check {
	checks := []httpapi.Check{
		{Name: "catalog", Ping: a.db.Ping},
		{Name: "codec", Ping: func(context.Context) error {
			if a.codec.Stats().Processes == 0 {
				return fault.New(fault.Unavailable, "no codec process is running")
			}
			return nil
		}},
	}
	checks = append(checks, a.storeChecks()...)
	for _, name := range slices.Sorted(maps.Keys(a.destinations)) {
		checks = append(checks, httpapi.Check{Name: "destination " + name, Ping: pingStore(a.destinations[name]), Optional: true})
	}
	checks = append(checks, a.redisChecks()...)
	if a.restores {
		checks = append(checks, httpapi.Check{Name: "jpeg-xl", Ping: func(context.Context) error { return a.noJXL() }, Optional: true})
	}
	return checks
}

// pingStore looks for a blob that there is none of.
func pingStore(store blob.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		return pingName(ctx, store, blob.SourceName(asset.Digest{}.String()))
	}
}

func pingName(ctx context.Context, store blob.Store, name string) error {
	_, err := store.Stat(ctx, name)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	return err
}

// Run listens and answers until ctx ends, then stops in order: not ready, no
// new connections, requests under way finished, everything closed. listening,
// if not nil, is told the address.
func (a *App) Run(ctx context.Context, listening func(net.Addr)) error {
	ln, err := listen(ctx, a.config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.config.Listen, err)
	}
	lane := fastlane.New(ln, fastlane.Config{HeaderTimeout: headerTime, IdleTimeout: idleTime, WriteTimeout: a.config.HTTP.AnswerTime}, a.api)
	server := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, WriteTimeout: a.config.HTTP.AnswerTime, MaxHeaderBytes: maxHeader,
		ConnState: lane.ConnState, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	if err := a.nodes.Join(ctx, a.advertised(ln.Addr())); err != nil {
		return errors.Join(err, ln.Close())
	}
	defer a.nodes.Leave()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	worked, kept := make(chan error, 1), make(chan error, 1)
	go func() { worked <- a.engine.Run(background) }()
	go func() { kept <- a.nodes.Keep(background) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(lane) }()
	a.api.SetReady(true)
	a.log.Info("ready", "address", ln.Addr().String(), "data", a.config.Data)
	if listening != nil {
		listening(ln.Addr())
	}
	select {
	case err = <-served:
	case err = <-kept:
		kept <- nil
		err = errors.Join(err, a.drain(server, ln))
	case <-ctx.Done():
		err = a.drain(server, ln)
	}
	stop()
	return errors.Join(err, <-worked, <-kept)
}

// Close closes what is open, last opened first.
func (a *App) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}
