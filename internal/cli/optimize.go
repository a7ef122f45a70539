package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"safelight/internal/codec"
	"safelight/internal/format"
	"safelight/internal/optimize"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/telemetry"
)

// optimizeCommand makes files smaller without a server.
type optimizeCommand struct {
	Config  string   `help:"Configuration file (YAML), for codec.* and render.*." env:"SAFELIGHT_CONFIG" type:"path" placeholder:"FILE"`
	Target  string   `help:"What results must reach: a score of SSIMULACRA2, or floors such as ssimulacra2=86.9,butteraugli=0.80 (default ${default})." default:"80" placeholder:"TARGET"`
	Format  string   `help:"Format of the results: jpeg, webp, avif, png, or auto for the smallest (default: that of each source)." placeholder:"FORMAT"`
	Tier    string   `help:"How much to spend: fast measures nothing, balanced searches, max searches with every effort (default ${default})." default:"balanced" placeholder:"TIER"`
	Output  string   `help:"Write results to this directory; nothing in it is overwritten." short:"o" type:"path" placeholder:"DIR"`
	InPlace bool     `help:"Replace each file by a smaller one of its format that reaches the target."`
	JSON    bool     `help:"Write JSON, one result a line as they get ready, and a summary." name:"json"`
	Report  string   `help:"Write a page that compares the pictures." type:"path" placeholder:"FILE.html"`
	Files   []string `arg:"" name:"file" help:"Pictures, and directories to look for pictures in."`
}

// Help says what comes out, with examples.
func (optimizeCommand) Help() string {
	return `Each picture is encoded so that it just reaches the target, which is measured against the decoded source. No server is needed; pictures are decoded in sandboxed processes.

Results have no metadata: Exif orientation is undone, colours become sRGB of 8 bits, transparency is laid on white for JPEG. HEIC and TIFF become JPEG unless --format says otherwise. Without -o and --in-place nothing is written, only measured.

A source is kept where its own format comes out no smaller, or the target can't be reached; with -o it is then copied as it is, metadata included. Files are measured against what they are now: running --in-place again makes lossy pictures a little worse each time.

Examples:

  safelight optimize photo.jpg
  safelight optimize photos/ -o smaller/
  safelight optimize photos/ --format auto --target 75 -o web/ --report web.html
  safelight optimize --in-place --target ssimulacra2=86.9,butteraugli=0.80 site/images/
  safelight optimize --json photos/ | jq -r 'select(.state == "failed") | .file'

The exit status is 0 when all went well, files that were kept included; 1 when some file failed; 2 when the command line makes no sense; 130 when it was interrupted.`
}

// plan is what the flags ask for.
func (c *optimizeCommand) plan() (optimize.Config, error) {
	o := optimize.Config{Out: c.Output, InPlace: c.InPlace, Auto: c.Format == "auto"}
	targets, err := quality.ParseTargets(c.Target)
	if err != nil {
		return o, misuse("--%w", err) // which begins with "target:"
	}
	tier, err := quality.ParseTier(c.Tier)
	if err != nil {
		return o, misuse("--%w", err)
	}
	o.Search = plan.Search{Tier: tier, Targets: targets}
	if c.Format != "" && !o.Auto {
		o.Format = format.Parse(c.Format)
		if !o.Format.Encodable() || o.Format == format.GIF {
			return o, misuse("--format: expected jpeg, webp, avif, png or auto but received %s", plain(cut(c.Format, 40)))
		}
	}
	switch {
	case c.InPlace && c.Output != "":
		return o, misuse("give either -o or --in-place")
	case c.InPlace && c.Format != "":
		return o, misuse("--in-place keeps each file's format; leave out --format")
	case tier == quality.Fast && targets.Butteraugli != 0:
		return o, misuse("--tier fast predicts SSIMULACRA2 and measures nothing: it can't reach a floor for butteraugli")
	case c.InPlace && tier == quality.Fast:
		return o, misuse("--in-place replaces only what was measured, and --tier fast measures nothing")
	case c.Report != "" && !strings.HasSuffix(strings.ToLower(c.Report), ".html"):
		return o, misuse("--report: expected a name that ends in .html but received %s", plain(cut(c.Report, 40)))
	}
	return o, nil
}

// Run optimises files.
func (c *optimizeCommand) Run() error {
	o, err := c.plan()
	if err != nil {
		return err
	}
	cfg, err := settings{Config: c.Config}.load()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that leaves is an error of the write, after which things are put in order
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal kills
	if cfg.Codec.Processes == 0 {
		cfg.Codec.Processes = runtime.NumCPU()
	}
	cfg.Codec.Background = cfg.Codec.Processes // nobody else waits for them
	o.Plan, o.Parallel = cfg.Render.Plan, cfg.Codec.Processes
	err = c.optimize(ctx, o, cfg.Codec, telemetry.Logger(os.Stderr, telemetry.LogConfig{Level: slog.LevelError.String(), Format: cfg.Log.Format}))
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "safelight: interrupted; what is listed is finished, the rest is as it was")
		return ended(130) // as shells have it
	}
	return err
}

// optimize finds the files, and does the work.
func (c *optimizeCommand) optimize(ctx context.Context, o optimize.Config, pooled codec.Config, log *slog.Logger) error {
	if o.Out != "" {
		if err := os.MkdirAll(o.Out, 0o777); err != nil {
			return err
		}
	}
	report, err := newReportFile(c.Report)
	if err != nil {
		return err
	}
	defer report.drop()
	o.Report = report.content()
	sources, results, err := optimize.Find(ctx, c.Files, o.Out)
	if err != nil {
		return err
	}
	show := newShow(c.JSON, len(sources))
	for _, failure := range results {
		if err := show.one(failure); err != nil {
			return err
		}
	}
	if len(sources) > 0 {
		pool, err := codec.Open(ctx, pooled, log)
		if err != nil {
			return err
		}
		defer pool.Close()
		err = optimize.Run(ctx, pool, o, sources, show.one)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if err := show.end(o); err != nil {
		return err
	}
	if err := report.write(o, show.results); err != nil {
		return err
	}
	if optimize.Sum(show.results).Failed > 0 {
		return ended(1)
	}
	return nil
}

// reportFile is the page that --report names; nil is none.
type reportFile struct {
	*optimize.Report
	path string
	temp *os.File
}

// newReportFile makes sure that the page can be written before any work is done.
func newReportFile(path string) (*reportFile, error) {
	if path == "" {
		return nil, nil
	}
	temp, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s.part is there: another run writes this report, or one was killed and left it", path)
	}
	if err != nil {
		return nil, err
	}
	return &reportFile{optimize.NewReport(), path, temp}, nil
}

func (r *reportFile) content() *optimize.Report {
	if r == nil {
		return nil
	}
	return r.Report
}

func (r *reportFile) write(o optimize.Config, results []optimize.Result) error {
	if r == nil {
		return nil
	}
	if err := r.Report.Write(r.temp, o, results); err != nil {
		return err
	}
	if err := r.temp.Close(); err != nil {
		return err
	}
	return os.Rename(r.temp.Name(), r.path)
}

// drop removes what was not finished.
func (r *reportFile) drop() {
	if r != nil {
		r.temp.Close()
		_ = os.Remove(r.temp.Name()) // it is gone where it was renamed
	}
}
