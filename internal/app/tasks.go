package app

import (
	"context"
	"maps"
	"os"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/guetzli"
	"safelight/internal/httpapi/taskapi"
	"safelight/internal/mirror"
	"safelight/internal/options"
	"safelight/internal/pipeline"
	"safelight/internal/publish"
	"safelight/internal/recall"
	"safelight/internal/recompress"
	"safelight/internal/render"
	"safelight/internal/task"
	"safelight/internal/telemetry"
	"safelight/internal/work"
)

// openTasks opens the queue, which the catalog commits to as well.
func (a *App) openTasks(ctx context.Context, mint *asset.Mint) error {
	a.functions = a.config.Pipeline.Functions()
	maps.Copy(a.functions, mirror.Functions())
	a.policies = a.config.Tasks.Policies(a.functions)
	if p := a.policies.For(pipeline.Optimize); p.Worker {
		p.Concurrency = a.config.Tasks.Functions[pipeline.Optimize].Concurrency // pipeline.parallel is for this server's own
		a.policies.Of[pipeline.Optimize] = p
	}
	a.signals = task.NewSignals()
	var err error
	a.tasks, err = a.openQueue(ctx, task.Config{Mint: mint, Policies: a.policies, Signals: a.signals})
	return err
}

// startPipeline makes the services that tasks are for, and the engine.
func (a *App) startPipeline(ctx context.Context, renderer *render.Service, codecs worker, metrics *telemetry.Metrics) error {
	a.openDestinations(metrics)
	publisher, err := publish.New(a.config.Publish, a.destinations, a.home, a.db, a.log)
	if err != nil {
		return err
	}
	a.publisher = publisher
	publisher.Refer(a.openMirrorStores(metrics))
	a.recompress = recompress.New(a.home, a.db, codecs, a.log)
	a.home.Recall = recall.New(a.recalled, a.db, a.recompress.Fetch, publisher.Fetch).Open // what is here first
	if err := a.checkRecompress(ctx); err != nil {
		return err
	}
	encoder, err := a.encoder()
	if err != nil {
		return err
	}
	outside := a.policies.For(pipeline.Optimize).Worker
	pixels := int64(0)
	switch {
	case a.config.Pipeline.Encoder == pipeline.EncoderBuiltin:
		pixels = a.config.Pipeline.MaxPixels
	case encoder != nil || outside && a.config.Pipeline.Encoder != pipeline.EncoderNone:
		pixels = a.config.Guetzli.MaxPixels
	}
	a.pipeline, err = pipeline.New(a.config.Pipeline, pipeline.Deps{
		Catalog: a.db, Queue: a.tasks, Home: a.home, Render: renderer, Publish: publisher, Purge: a.purge, Codec: codecs, Encoder: encoder, Outside: outside, OptimizePixels: pixels,
		Quality: a.config.Render.Plan.JPEGQuality, Presets: a.config.Presets, Sweep: a.config.Sweep, Metrics: metrics, Log: a.log, MaxOutput: a.config.Ingest.MaxFileBytes,
		Recompress: a.recompress, CanRecompress: a.transcodes(),
	})
	if err != nil {
		return err
	}
	a.pipeline.Bind(a.functions)
	if fast := a.config.Render.Plan.AutoScore; a.pipeline.AimsAbove(fast) {
		a.log.Warn("pipeline.target is higher than render.target: many files that reach it are larger than the fast ones, which then stay", "pipeline.target", a.config.Pipeline.Target, "render.target", fast)
	}
	config := a.config.Tasks
	config.Idle = !a.config.Role.Works()
	config.Periodic = maps.Clone(config.Periodic)
	if config.Periodic == nil {
		config.Periodic = make(map[string]work.Periodic)
	}
	config.Periodic[pipeline.Sweep] = work.Periodic{Function: pipeline.Sweep, Every: a.config.Sweep.Every, AtStart: true}
	if a.sealsHome() {
		config.Periodic[pipeline.Reseal] = work.Periodic{Function: pipeline.Reseal, Every: 24 * time.Hour, AtStart: true}
	}
	if publisher.Places() > 0 {
		config.Periodic[pipeline.Reconcile] = work.Periodic{Function: pipeline.Reconcile, Every: a.config.Pipeline.ReconcileEvery}
	}
	a.scans(config.Periodic)
	a.engine = work.New(config, a.config.Node, a.tasks, a.signals, a.policies, a.functions, metrics, a.log)
	metrics.Tasks(a.tasks.Counts)
	return nil
}

// encoder is the program that optimises; nil where there is none.
func (a *App) encoder() (pipeline.Encoder, error) {
	if a.config.Pipeline.Encoder != pipeline.EncoderGuetzli || a.policies.For(pipeline.Optimize).Worker {
		return nil, nil
	}
	e, err := guetzli.New(a.config.Guetzli, a.log)
	if fault.Of(err) == fault.Unavailable && err != nil {
		if a.config.Pipeline.Steps != nil && len(a.config.Presets) > 0 {
			a.log.Warn("presets are not optimised: the program guetzli is not there; install it, or set pipeline.encoder to none", "path", a.config.Guetzli.Path)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return encoder{e}, nil
}

// encoder is guetzli as the pipeline sees it.
type encoder struct{ *guetzli.Encoder }

// Encode encodes.
func (e encoder) Encode(ctx context.Context, picture *os.File, pixels int64, quality int) (*pipeline.Encoded, error) {
	r, err := e.Encoder.Encode(ctx, picture, pixels, quality)
	if err != nil {
		return nil, err
	}
	return &pipeline.Encoded{File: r.File, Bytes: r.Bytes, CPU: r.CPU}, nil
}

// Name implements pipeline.Encoder.
func (e encoder) Name() string { return e.Version() }

// taskDeps are what the transport needs to speak for tasks.
func (a *App) taskDeps() *taskapi.Deps {
	return &taskapi.Deps{
		Engine: a.engine, Tasks: a.tasks, Signals: a.signals, Files: files{a.pipeline},
		Attended: a.attended(), Reserved: a.engine.Reserved, CheckInput: checkInput,
	}
}

// checkInput refuses what is no rendition.
func checkInput(input string) error {
	_, err := options.Parse(input)
	return err
}

// files are the pipeline's as the transport sees them.
type files struct{ *pipeline.Service }

func (f files) Input(ctx context.Context, t task.Task) (taskapi.Content, error) {
	return content(f.Service.Input(ctx, t))
}

func (f files) OpenOutput(ctx context.Context, t task.Task) (taskapi.Content, error) {
	return content(f.Service.OpenOutput(ctx, t))
}

func content(c *pipeline.Content, err error) (taskapi.Content, error) {
	if err != nil {
		return taskapi.Content{}, err
	}
	return taskapi.Content{Body: c, Bytes: c.Bytes, Type: c.Type, Digest: c.Digest}, nil
}
