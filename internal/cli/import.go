package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"safelight/internal/adopt"
	"safelight/internal/client"
)

// importCommand takes what exists into a running server.
type importCommand struct {
	Server   string `help:"URL of the server (default ${default})." env:"SAFELIGHT_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL"`
	Key      string `help:"Key with the scopes read and upload; the variable does not show in lists of processes." env:"SAFELIGHT_KEY" placeholder:"TOKEN"`
	Prefix   string `help:"What stands before each key, such as photos/2024." placeholder:"PATH"`
	Replace  bool   `help:"Let keys that have other bytes point at the files; otherwise they are conflicts."`
	Parallel int    `help:"Files at once (default ${default})." default:"8" placeholder:"N"`
	Watch    bool   `help:"Go on and follow changes: new files are taken in, changed ones replace what their keys pointed at. Directories only."`
	Delete   bool   `help:"With --watch: delete images whose files are deleted."`
	State    string `help:"Remember digests in this file, so that unchanged files are not read again; none remembers nothing (default: one in the user's cache directory)." placeholder:"FILE"`
	JSON     bool   `help:"Write JSON, one file a line as they get ready, and a summary." name:"json"`
	Source   string `arg:"" help:"A directory, or a bucket such as s3://bucket/prefix, with credentials as for destinations."`
}

// Help says what comes out, with examples.
func (importCommand) Help() string {
	return `Each picture is uploaded under its path below the directory, or the bucket's prefix. What the server has under that key already is not sent again, so the command may be interrupted and repeated. A key with other bytes is a conflict, and stays as it is, unless --replace is given.

Files that are no pictures are skipped, counted and named (the first ten; all with --json). Hidden files are taken too. Links are followed within the directory to files, not to directories, and never out of it. Names that can't be keys (backslashes, control characters, bytes that are not UTF-8) are reported; decomposed letters, as macOS writes them, are composed.

Examples:

  safelight import photos/
  safelight import photos/ --prefix shop --json | jq -r 'select(.state == "failed")'
  safelight import 's3://old-bucket/pictures?region=eu-central-1' --prefix old
  safelight import photos/ --watch --delete

The exit status is 0 when everything is in or was skipped; 1 when something failed or is a conflict; 2 when the command line makes no sense; 130 when it was interrupted (0 with --watch).`
}

// config is what the flags ask for.
func (c *importCommand) config() (adopt.Config, error) {
	o := adopt.Config{Prefix: c.Prefix, Replace: c.Replace, Parallel: c.Parallel, Memory: c.State}
	bucket := strings.Contains(c.Source, "://") && !strings.HasPrefix(c.Source, "file://")
	switch {
	case c.Parallel < 1 || c.Parallel > 256:
		return o, misuse("--parallel: %d is not from 1 to 256", c.Parallel)
	case c.Watch && bucket:
		return o, misuse("--watch follows directories; a bucket tells of its changes by events (see docs/import.md)")
	case c.Delete && !c.Watch:
		return o, misuse("--delete goes with --watch")
	}
	switch c.State {
	case "none":
		o.Memory = ""
	case "":
		o.Memory = defaultState(c.Source, bucket)
	}
	return o, nil
}

// defaultState is where digests of a place are remembered; "" where there is no
// directory for such.
func defaultState(source string, bucket bool) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	if !bucket {
		source = strings.TrimPrefix(source, "file://")
		if abs, err := filepath.Abs(source); err == nil {
			source = abs
		}
	}
	id := sha256.Sum256([]byte(source))
	return filepath.Join(cache, "safelight", "import-"+hex.EncodeToString(id[:8])+".jsonl")
}

// Run takes files in.
func (c *importCommand) Run() error {
	o, err := c.config()
	if err != nil {
		return err
	}
	cl, err := client.New(c.Server, c.Key)
	if err != nil {
		return usage{err}
	}
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal kills
	show := newImportShow(c.JSON)
	show.watching = c.Watch
	a, err := adopt.New(ctx, o, c.Source, cl, show)
	if err != nil {
		return usage{err}
	}
	if c.Watch {
		err = a.Watch(ctx, adopt.WatchConfig{Delete: c.Delete, Following: func() { show.following(c.Source) }})
	} else {
		err = a.Pass(ctx)
	}
	err = errors.Join(err, a.Close())
	if err == nil || show.sum.Files > 0 || c.JSON {
		if failed := show.end(); failed != nil {
			return failed
		}
	}
	switch {
	case ctx.Err() != nil && c.Watch:
		return nil
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "safelight: interrupted; run it again to go on")
		return ended(130)
	case err != nil && lasting(err):
		return err
	case err != nil:
		return fmt.Errorf("%w; run it again to go on", err)
	case show.sum.Failed() > 0:
		return ended(1)
	}
	return nil
}
