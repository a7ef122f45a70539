// Package pipeline is what happens to images after they are stored, as
// functions of tasks: presets are rendered, optimised and published, local
// copies expire, what is deleted is withdrawn, and what differs between the
// catalog and the stores is mended. Each function may be carried out again
// after it has succeeded, since a node can die before that is stored.
package pipeline

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/publish"
	"safelight/internal/purge"
	"safelight/internal/quality"
	"safelight/internal/recompress"
	"safelight/internal/render"
	"safelight/internal/task"
	"safelight/internal/work"
)

// Names of the functions.
const (
	Render    = "render"
	Optimize  = "optimize"
	Publish   = "publish"
	Unpublish = "unpublish"
	Expire    = "expire"
	Backfill  = "backfill"
	Reconcile = "reconcile"
	Sweep     = "sweep"
	Purge     = "purge"

	Recompress = "recompress"
	Reseal     = "reseal"
)

// Encoder makes a JPEG smaller than a fast encoder does.
type Encoder interface {
	// Encode reads a PNG of so many pixels and answers a JPEG of a quality (1
	// to 100) or better. fault.Unprocessable is a picture that it can't encode.
	Encode(ctx context.Context, picture *os.File, pixels int64, quality int) (*Encoded, error)
	// Name is the encoder's, with its version.
	Name() string
}

// Encoded is an encoder's result; the caller closes the file.
type Encoded struct {
	File  *os.File
	Bytes int64
	CPU   time.Duration
}

// inspector has a codec process decode a picture once.
type inspector interface {
	Inspect(ctx context.Context, job plan.Job, source *os.File) (plan.Result, error)
}

// images is what the pipeline needs of the catalog.
type images interface {
	catalog.Catalog
	catalog.Renditions
	catalog.Publications
	catalog.Recompressions
	catalog.Census
}

// Deps are the parts that the pipeline works with.
type Deps struct {
	Catalog images
	Queue   task.Queue
	Home    *blob.Home
	Render  *render.Service
	Publish *publish.Service
	Purge   *purge.Service
	Codec   inspector
	Encoder Encoder // a program of its own; nil where the codec processes optimise, or workers outside, or nobody
	Outside bool    // optimize is left to workers outside
	// OptimizePixels is the largest picture that is optimised; 0 is none.
	OptimizePixels int64
	Quality        func(options.Options) int // of the fast rendition, 1 to 100
	Presets        map[string]string
	Sweep          purge.SweepConfig
	Metrics        interface{ Saved(bytes int64) }
	Log            *slog.Logger
	// Recompress makes sources smaller, where CanRecompress: libjxl is there.
	Recompress    *recompress.Service
	CanRecompress bool
	// MaxOutput bounds what a worker may upload, in bytes.
	MaxOutput int64
}

// Service carries out the functions. It is safe for concurrent use.
type Service struct {
	Deps
	config  Config
	presets map[string]options.Options // normalized
	targets quality.Targets
}

// New makes a service; presets must have been validated.
func New(config Config, deps Deps) (*Service, error) {
	targets, err := quality.ParseTargets(config.Target)
	if err != nil {
		return nil, err
	}
	s := &Service{Deps: deps, config: config, targets: targets, presets: make(map[string]options.Options, len(deps.Presets))}
	for name, query := range deps.Presets {
		o, err := options.Parse(query)
		if err != nil {
			return nil, err
		}
		s.presets[name] = o.Normalize()
	}
	return s, nil
}

// Functions are the pipeline's, with the policies they come with.
func (c Config) Functions() map[string]work.Function {
	const quick = 10 * time.Minute
	return map[string]work.Function{
		Render:    {Policy: task.Policy{Timeout: quick}},
		Optimize:  {Pool: Optimize, Policy: task.Policy{Timeout: 30 * time.Minute, Concurrency: c.Parallel}},
		Publish:   {Policy: task.Policy{Timeout: time.Hour, OnDead: Unpublish}},
		Unpublish: {Policy: task.Policy{Timeout: quick}},
		Expire:    {Policy: task.Policy{Timeout: time.Hour, MaxPostpones: 100_000}},
		Purge:     {Policy: task.Policy{Timeout: 24 * time.Hour}},
		Backfill:  {Pool: Backfill, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1}},
		Reconcile: {Pool: Reconcile, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1}},
		Sweep:     {Pool: Sweep, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1, MaxAttempts: 3}},

		Recompress: recompressPolicy(),
		Reseal:     {Pool: Reseal, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1}},
	}
}

// Bind puts the service's methods behind the functions.
func (s *Service) Bind(functions map[string]work.Function) {
	for name, do := range map[string]func(context.Context, *work.Run) (work.Outcome, error){
		Render: s.render, Optimize: s.optimize, Publish: s.publish, Unpublish: s.unpublish, Expire: s.expire,
		Backfill: s.backfill, Reconcile: s.reconcile, Sweep: s.sweep, Purge: s.purge, Recompress: s.recompress,
		Reseal: s.reseal,
	} {
		f := functions[name]
		f.Do = do
		functions[name] = f
	}
	for name, finish := range map[string]func(context.Context, task.Task, json.RawMessage) (work.Outcome, error){
		Render: s.rendered, Optimize: s.optimized, Publish: s.published,
	} {
		f := functions[name]
		f.Finish = finish
		functions[name] = f
	}
}

// args are the arguments of every function.
type args struct {
	Preset      string `json:"preset,omitempty"`  // "" is the source
	Quality     int    `json:"quality,omitempty"` // of the fast rendition; for workers outside
	Destination string `json:"destination,omitempty"`
	Object      string `json:"object,omitempty"` // its name at the destination, for workers outside
	Prefix      string `json:"prefix,omitempty"`
	Tag         string `json:"tag,omitempty"`
}

func (a args) encode() json.RawMessage {
	text, _ := json.Marshal(a) // strings can't fail
	return text
}

func argsOf(t task.Task) (args, error) {
	var a args
	if err := json.Unmarshal(t.Args, &a); err != nil {
		return a, fault.New(fault.Invalid, "args: %s: %v", t.Function, err)
	}
	return a, nil
}

// ForNew are the tasks that a new image is stored with.
func (s *Service) ForNew(img asset.Image) []task.New {
	var tasks []task.New
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		if s.config.has(name, StepRender) {
			tasks = append(tasks, s.renderTask(img.ID, name, priorityRender))
		}
	}
	tasks = append(tasks, s.publishTasks(img, "", img.Source.Header.Format)...)
	return append(tasks, s.recompressTasks(img)...)
}

// Farewell are the tasks that an image leaves behind.
func (s *Service) Farewell() []task.New {
	if s.Publish.Places() == 0 {
		return nil
	}
	return []task.New{{Function: Unpublish, Priority: priorityPublish}}
}

func (s *Service) renderTask(id asset.ID, preset string, priority int) task.New {
	return task.New{
		Function: Render, Name: nameOf(id, preset, ""), Args: args{Preset: preset}.encode(), Image: id, Priority: priority,
	}
}

// publishTasks publish a preset's rendition, or the source (""), in a format.
func (s *Service) publishTasks(img asset.Image, preset string, f format.Format) []task.New {
	if preset != "" && !s.config.has(preset, StepPublish) {
		return nil
	}
	var tasks []task.New
	for _, d := range s.Publish.For(img, preset) {
		tasks = append(tasks, s.publishTask(img, preset, d, f))
	}
	return tasks
}

func (s *Service) publishTask(img asset.Image, preset, destination string, f format.Format) task.New {
	return task.New{
		Function: Publish, Name: nameOf(img.ID, preset, destination), Image: img.ID, Priority: priorityPublish,
		Args: args{Preset: preset, Destination: destination, Object: s.Publish.ObjectName(destination, img, preset, f)}.encode(),
	}
}

// nameOf names the one task of a function about something, so that a second
// submission changes the first.
func nameOf(id asset.ID, preset, destination string) string {
	if preset == "" {
		preset = sourceName
	}
	return strings.TrimSuffix(id.String()+"/"+preset+"/"+destination, "/")
}

// own gives tasks their owner.
func own(owner string, tasks []task.New) []task.New {
	for i := range tasks {
		tasks[i].Owner = owner
	}
	return tasks
}

// subject finds the image a task is about; ok is false when it is gone.
func (s *Service) subject(ctx context.Context, t task.Task) (img asset.Image, ok bool, err error) {
	if t.Image == (asset.ID{}) {
		return img, false, fault.New(fault.Invalid, "image: %s needs one", t.Function)
	}
	img, err = s.Catalog.Image(ctx, t.Owner, t.Image)
	if fault.Of(err) == fault.NotFound {
		return img, false, nil
	}
	return img, err == nil, err
}

// skipped is the result of a task that had nothing to do.
type skipped struct {
	Skipped string `json:"skipped"`
}

func skip(why string) (work.Outcome, error) { return work.Outcome{Result: skipped{why}}, nil }

const whyGone = "the image was deleted"

// presetOf reads a task's arguments and finds the preset that they name.
func (s *Service) presetOf(t task.Task) (args, options.Options, error) {
	a, err := argsOf(t)
	if err != nil {
		return a, options.Options{}, err
	}
	o, err := s.preset(a.Preset)
	return a, o, err
}

// preset finds a preset of the configuration. That it is not there may pass: while
// settings change, not all nodes have the same.
func (s *Service) preset(name string) (options.Options, error) {
	o, ok := s.presets[name]
	if !ok {
		return o, fault.New(fault.Unavailable, "preset: none of the name %q is configured on this node", name)
	}
	return o, nil
}
