package codec

import (
	"context"
	"log/slog"
	"path/filepath"

	"safelight/internal/codec/wire"
)

// Version starts one codec process, asks what it is made of, and ends it.
func Version(ctx context.Context, cfg Config) (wire.Info, error) {
	cfg.Processes, cfg.Spares = 1, 0
	pool, err := Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return wire.Info{}, err
	}
	defer pool.Close()
	return pool.Info(), nil
}

// readable lists the folders to open to a codec process: those of the
// configuration, and that of a libvips which the operator names by path, with
// its modules and whatever lies beside it.
func (c Config) readable() []string {
	if !filepath.IsAbs(c.VipsLibrary) {
		return c.Readable
	}
	folders := append([]string{filepath.Dir(c.VipsLibrary)}, c.Readable...)
	if real, err := filepath.EvalSymlinks(c.VipsLibrary); err == nil {
		folders = append(folders, filepath.Dir(real))
	}
	return folders
}
