package purge

import (
	"context"
	"path"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
)

// SweepConfig times the sweep.
type SweepConfig struct {
	Every      time.Duration `koanf:"every"`
	Grace      time.Duration `koanf:"grace"`       // how long a released source is kept
	TempAge    time.Duration `koanf:"temp_age"`    // of other nodes' temporary files
	ReplayKept time.Duration `koanf:"replay_kept"` // how long an Idempotency-Key is remembered
}

// DefaultSweepConfig is what is in force where nothing is configured.
func DefaultSweepConfig() SweepConfig {
	return SweepConfig{Every: time.Hour, Grace: time.Hour, TempAge: 24 * time.Hour, ReplayKept: 48 * time.Hour}
}

// Swept counts what a sweep removed.
type Swept struct {
	Temp       int `json:"temporary"`
	Released   int `json:"released"`
	Orphans    int `json:"orphans"` // sources, in whichever form
	Renditions int `json:"renditions"`
	Outputs    int `json:"outputs"`
	Replays    int `json:"replays"`
}

// Any tells whether a sweep has removed anything.
func (s Swept) Any() bool { return s != Swept{} }

const sweepBatch = 500

// Sweep removes abandoned temporary files, sources that no image has used for
// the grace time, files without a row (an upload that died between its two
// commits, a rendition that a smaller one has replaced), and old idempotency
// tokens. It may run while uploads do.
func (s *Service) Sweep(ctx context.Context, store *blob.Home, c SweepConfig) (Swept, error) {
	var done Swept
	var err error
	if sweeper, ok := store.Store.(blob.Sweeper); ok {
		if done.Temp, err = sweeper.SweepTemp(ctx, c.TempAge); err != nil {
			return done, err
		}
	}
	before := time.Now().Add(-c.Grace)
	if done.Released, err = s.released(ctx, store, before); err != nil {
		return done, err
	}
	for _, k := range []kind{
		{blob.SourcePrefix, blob.SourceName, s.Janitor.Unknown},
		{blob.RecompressedPrefix, blob.RecompressedName, s.Janitor.Unknown},
	} {
		n, err := orphans(ctx, store, k, before)
		done.Orphans += n
		if err != nil {
			return done, err
		}
	}
	if done.Renditions, err = orphans(ctx, store, kind{blob.RenditionPrefix, blob.RenditionName, s.Janitor.UnknownRenditions}, before); err != nil {
		return done, err
	}
	if s.Deps.Outputs != nil {
		if done.Outputs, err = orphans(ctx, store, kind{blob.OutputPrefix, blob.OutputName, s.Deps.Outputs.UnknownOutputs}, before); err != nil {
			return done, err
		}
	}
	done.Replays, err = s.Janitor.DropReplays(ctx, time.Now().Add(-c.ReplayKept))
	return done, err
}

// released removes rows first and bytes after, in whichever forms they are, so
// that a crash in between leaves an orphan and not a row without bytes.
func (s *Service) released(ctx context.Context, store *blob.Home, before time.Time) (int, error) {
	removed := 0
	for {
		digests, err := s.Janitor.Released(ctx, before, sweepBatch)
		if err != nil || len(digests) == 0 {
			return removed, err
		}
		for _, d := range digests {
			gone, err := store.Remove(ctx, blob.SourceName(d.String()), before, func() (bool, error) {
				return s.Janitor.Forget(ctx, d, before)
			})
			if err != nil {
				return removed, err
			}
			if !gone {
				continue
			}
			removed++
			if err := s.recompressed(ctx, store, d, before); err != nil {
				return removed, err
			}
		}
		if len(digests) < sweepBatch {
			return removed, nil
		}
	}
}

// recompressed removes the other form of a source whose row is gone, unless the
// same bytes were uploaded again meanwhile. What it leaves is an orphan.
func (s *Service) recompressed(ctx context.Context, store *blob.Home, d asset.Digest, before time.Time) error {
	_, err := store.Remove(ctx, blob.RecompressedName(d.String()), before, func() (bool, error) {
		still, err := s.Janitor.Unknown(ctx, []asset.Digest{d})
		return len(still) == 1, err
	})
	return err
}

// kind is a kind of blob: what its names begin with, its name by a digest in
// hexadecimal, and which digests have no row.
type kind struct {
	prefix  string
	name    func(string) string
	unknown func(context.Context, []asset.Digest) ([]asset.Digest, error)
}

// orphans removes files without a row that are older than the grace time.
func orphans(ctx context.Context, store *blob.Home, k kind, before time.Time) (int, error) {
	removed := 0
	var batch []asset.Digest
	flush := func() error {
		unknown, err := k.unknown(ctx, batch)
		if err != nil {
			return err
		}
		batch = batch[:0]
		for _, d := range unknown {
			gone, err := store.Remove(ctx, k.name(d.String()), before, func() (bool, error) {
				still, err := k.unknown(ctx, []asset.Digest{d}) // an upload may have come between
				return len(still) == 1, err
			})
			if err != nil {
				return err
			}
			if gone {
				removed++
			}
		}
		return nil
	}
	err := store.List(ctx, k.prefix, func(info blob.Info) error {
		if !info.Modified.Before(before) {
			return nil
		}
		d, err := asset.ParseDigest(path.Base(info.Name))
		if err != nil || k.name(d.String()) != info.Name {
			return nil // not a name of ours
		}
		if batch = append(batch, d); len(batch) == sweepBatch {
			return flush()
		}
		return nil
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return removed, err
}
