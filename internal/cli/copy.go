package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"safelight/internal/app"
	"safelight/internal/blob"
	"safelight/internal/blobcopy"
	"safelight/internal/config"
	"safelight/internal/optimize"
	"safelight/internal/publish"
	"safelight/internal/telemetry"
	"safelight/internal/treeblob"
)

// copyCommand moves the pictures of an installation into another store.
type copyCommand struct {
	settings `embed:""`
	From     string `help:"The store to read: file:///directory, or a bucket such as s3://bucket/prefix?region=… (default: the data directory)." placeholder:"URL"`
	To       string `help:"The store to fill (default: store.sources, or store.renditions for that part alone)." placeholder:"URL"`
	Only     string `help:"Copy this part: sources is what belongs into store.sources, renditions what belongs into store.renditions." enum:"sources,renditions," default:"" placeholder:"PART"`
	Parallel int    `help:"Blobs at once (default ${default})." default:"8" placeholder:"N"`
	Verify   bool   `help:"Read everything at the target once more, what was there already too, and copy what is damaged again."`
	JSON     bool   `help:"Write the report as JSON." name:"json"`
}

// Help says how it is meant to go.
func (copyCommand) Help() string {
	return `Originals, their JPEG XL forms, presets' renditions and workers' outputs are copied under the names that they have, byte for byte. Nothing is deleted on either side, and the source is only read. What the target has under the same name with the same size is not copied again, so an interrupted run goes on where it was. Each blob's bytes are held against the digest in its name before the target gets them; one that is damaged is reported, and not copied.

The server may go on running meanwhile. If pictures have come since, the command says so at the end and exits with 1: stop the server and run the command again, for the difference. It says so too if a server runs on the directory still, as more may come.

  safelight copy --data /var/lib/safelight --to 's3://photos/home?region=eu-central-1'
  systemctl stop safelight
  safelight copy --data /var/lib/safelight --to 's3://photos/home?region=eu-central-1'
  # set store.sources; the catalog stays in the data directory, or moves by safelight migrate
  systemctl start safelight

Encrypted blobs stay as they are. With the keys in encryption.keys what is in them is checked too; without, the copy has the bytes of the source, and that is all that can be said.

Credentials of buckets come from the environment, as for destinations. What is on its way to a bucket lies in TMPDIR. The exit status is 0 when all is at the target; 1 when it is not, or something has come meanwhile; 2 when the command line makes no sense; 130 when it was interrupted.`
}

// ends are the addresses of the two stores.
func (c *copyCommand) ends(cfg config.Config) (from, to string, err error) {
	from, to = c.From, c.To
	if from == "" {
		dir, err := filepath.Abs(cfg.Data)
		if err != nil {
			return "", "", err
		}
		from = (&url.URL{Scheme: "file", Path: dir}).String()
	}
	if to == "" && c.Only == "renditions" {
		to = cfg.Store.Renditions
	}
	if to == "" {
		to = cfg.Store.Sources
	}
	switch {
	case to == "":
		return "", "", misuse("give the store to fill with --to, or set store.sources")
	case c.Parallel < 1 || c.Parallel > 256:
		return "", "", misuse("--parallel: %d is not from 1 to 256", c.Parallel)
	}
	var places []publish.Place
	for _, end := range []struct{ flag, address string }{{"--from", from}, {"--to", to}} {
		if err := publish.CheckURL(end.address); err != nil {
			return "", "", misuse("%s: %w", end.flag, err)
		}
		u, err := url.Parse(end.address)
		if err != nil {
			return "", "", misuse("%s: the address can't be read", end.flag)
		}
		places = append(places, publish.PlaceOf(end.flag, u))
	}
	if places[0].Overlaps(places[1]) {
		return "", "", misuse("--from and --to must not lie in one another")
	}
	return from, to, nil
}

// Run copies.
func (c *copyCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	from, to, err := c.ends(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal kills
	line := newMeter(c.JSON)
	report, err := c.copy(ctx, cfg, from, to, line)
	line.clear()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "safelight: interrupted; run it again to go on")
		return ended(130)
	case err != nil:
		return err
	}
	if err := c.tell(report); err != nil {
		return err
	}
	if !config.Bucket(from) {
		stillRunning(config.Dir(from))
	}
	return nil
}

func (c *copyCommand) copy(ctx context.Context, cfg config.Config, from, to string, line *meter) (report blobcopy.Report, err error) {
	keys, err := cfg.Encryption.Read()
	if err != nil {
		return report, err
	}
	log := telemetry.Logger(os.Stderr, telemetry.LogConfig{Level: slog.LevelError.String(), Format: cfg.Log.Format})
	o := app.StoreOptions{Node: "copy", Spool: os.TempDir(), Objects: cfg.Objects, Log: log}
	source, err := openSource(ctx, from, o)
	if err != nil {
		return report, fmt.Errorf("--from: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openTarget(ctx, to, o)
	if err != nil {
		return report, fmt.Errorf("--to: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	begun := time.Now()
	report, err = blobcopy.Run(ctx, blobcopy.Config{
		From: source, To: target, Keys: keys, Prefixes: c.prefixes(), Parallel: c.Parallel, Verify: c.Verify, Patience: blobcopy.DefaultPatience,
		Progress: func(step string, done, total blobcopy.Amount) {
			line.show(step, min(done.Bytes, total.Bytes), max(total.Bytes, 1), copied(step, done, total, time.Since(begun)))
		},
		Trouble: func(t blobcopy.Trouble) {
			line.clear()
			fmt.Fprintf(os.Stderr, "safelight: %s is not copied: %s\n", t.Name, plain(t.Reason))
		},
	})
	if err != nil && !lasting(err) {
		err = fmt.Errorf("%w; what was copied stays, run it again to go on", err)
	}
	return report, err
}

// prefixes are those of the part that is to be copied.
func (c *copyCommand) prefixes() []string {
	switch c.Only {
	case "sources":
		return []string{blob.SourcePrefix, blob.RecompressedPrefix}
	case "renditions":
		return []string{blob.RenditionPrefix, blob.OutputPrefix}
	}
	return nil
}

// openSource opens a store to be read. A directory may be one that can't be
// written to, and is open to a server meanwhile.
func openSource(ctx context.Context, address string, o app.StoreOptions) (interface {
	blob.Store
	io.Closer
}, error) {
	if config.Bucket(address) {
		return app.OpenStore(ctx, address, o)
	}
	return treeblob.Open(config.Dir(address))
}

// openTarget opens the store to be filled. A directory that is not there may lie in
// a file system that is not mounted, so none is made.
func openTarget(ctx context.Context, address string, o app.StoreOptions) (app.ClosingStore, error) {
	if !config.Bucket(address) {
		if info, err := os.Stat(config.Dir(address)); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("there is no directory %s; make it, or mount the file system that it lies in", config.Dir(address))
		}
	}
	return app.OpenStore(ctx, address, o)
}

// copied says how far it is after a time.
func copied(step string, done, total blobcopy.Amount, after time.Duration) string {
	if total.Blobs == 0 { // of a list, whose length is not known
		return fmt.Sprintf("%s: %d blobs", step, done.Blobs)
	}
	text := fmt.Sprintf("%s: %d of %d blobs, %s of %s", step, done.Blobs, total.Blobs, optimize.Size(done.Bytes), optimize.Size(total.Bytes))
	if after < time.Second || done.Bytes == 0 {
		return text
	}
	left := time.Duration(float64(after) * float64(total.Bytes-done.Bytes) / float64(done.Bytes))
	return fmt.Sprintf("%s, %s left", text, age(max(left, 0)))
}

// tell writes the report.
func (c *copyCommand) tell(r blobcopy.Report) error {
	if c.JSON {
		if err := writeLine(r); err != nil {
			return err
		}
	} else {
		fmt.Printf("%d blobs (%s) at the source: %d copied (%s), %d there already, in %s.\n", r.Found.Blobs, optimize.Size(r.Found.Bytes), r.Copied.Blobs, optimize.Size(r.Copied.Bytes), r.Already.Blobs, r.Took.Round(time.Millisecond))
		for _, line := range []struct {
			n    int64
			text string
		}{
			{r.Verified.Blobs, "were read back or have their digest noted at the target"},
			{r.Repaired, "of those copied were damaged at the target"},
			{r.Unproven, "can't be held against their names (encrypted with a key that is not configured, or JPEG XL); they have the same bytes on both sides"},
			{r.Vanished, "were deleted while the others were copied"},
			{r.Others, "files have names that no blob has, and were left"},
			{r.Extra, "are at the target only; a server there removes them if nothing refers to them"},
		} {
			if line.n > 0 {
				fmt.Printf("%d %s.\n", line.n, line.text)
			}
		}
	}
	return judge(r)
}

// judge is what is left to do.
func judge(r blobcopy.Report) error {
	if n := len(r.Damaged); n > 0 {
		fmt.Fprintf(os.Stderr, "safelight: %d blobs are damaged at the source, and not copied\n", n)
	}
	if n := len(r.Failed); n > 0 {
		fmt.Fprintf(os.Stderr, "safelight: %d blobs could not be read, and are not copied\n", n)
	}
	if r.Appeared > 0 {
		fmt.Fprintf(os.Stderr, "safelight: %d blobs have come meanwhile, so this is not finished: stop the server and run it again\n", r.Appeared)
	}
	if r.Found.Blobs == 0 && r.Appeared == 0 {
		fmt.Fprintln(os.Stderr, "safelight: there is nothing of a home store at --from")
		return ended(1)
	}
	if !r.Whole() {
		return ended(1)
	}
	return nil
}
