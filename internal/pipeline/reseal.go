package pipeline

import (
	"context"
	"strings"

	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/work"
)

// reseal encrypts anew what lies in the home store without encryption, or under
// an earlier key. A blob that can't be is left for the next time.
func (s *Service) reseal(ctx context.Context, _ *work.Run) (work.Outcome, error) {
	store, ok := s.Home.Store.(blob.Resealer)
	if !ok {
		return skip("the home store is not encrypted")
	}
	var done, failed int
	for _, prefix := range []string{blob.SourcePrefix, blob.RecompressedPrefix, blob.RenditionPrefix, blob.OutputPrefix} {
		err := store.Stale(ctx, prefix, func(name string) error {
			err := s.resealOne(ctx, store, name)
			switch {
			case err == nil:
				done++
			case ctx.Err() != nil || fault.Retryable(err):
				return err
			default:
				failed++
				s.Log.Warn("a blob could not be encrypted with the present key", "name", name, "error", err)
			}
			return nil
		})
		if err != nil {
			return work.Outcome{}, err
		}
	}
	if failed > 0 {
		s.Log.Warn("not all of the home store is encrypted with the present key", "encrypted_now", done, "failed", failed)
	} else {
		s.Log.Info("all of the home store is encrypted with the present key", "encrypted_now", done)
	}
	return work.Outcome{Result: map[string]int{"resealed": done, "failed": failed}}, nil
}

func (s *Service) resealOne(ctx context.Context, store blob.Resealer, name string) error {
	defer s.Home.Keep(name)() // nobody removes it meanwhile
	read := s.Home.Open       // which holds the bytes against the name
	if strings.HasPrefix(name, blob.RecompressedPrefix) {
		read = s.Home.Store.Open // the name is of other bytes
	}
	return store.Reseal(ctx, name, func(ctx context.Context) (blob.Reader, error) { return read(ctx, name) })
}
