package recompress

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

// minSaved is the part of a source that must be saved, in percent: less is not
// worth the work of restoring it.
const minSaved = 3

// make makes the smaller form of a source and stores it beside the source. why
// is not "" where that stays as it is, which is remembered.
func (s *Service) make(ctx context.Context, src asset.Source) (why string, err error) {
	file, bytes, err := s.smaller(ctx, src.Digest)
	switch known := fault.As(err); {
	case err == nil:
		defer file.Close()
	case known == nil:
		return "", err
	case known.Kind == fault.NotFound:
		return whyGone, nil
	case known.Code == codeMemory: // which more memory, or another setting, mends
		return known.Message, nil
	case known.Kind == fault.Unprocessable, known.Kind == fault.TooLarge:
		why = known.Message
	default:
		return "", unproven(err)
	}
	if why == "" && bytes*100 > src.Bytes*(100-minSaved) {
		why = fmt.Sprintf("as JPEG XL it has %d bytes of %d, which saves less than %d %%", bytes, src.Bytes, minSaved)
	}
	if why != "" {
		return why, s.remember(ctx, catalog.Recompression{Source: src.Digest, Reason: why})
	}
	return s.store(ctx, src.Digest, io.NewSectionReader(file, 0, bytes))
}

// smaller has a codec process make the smaller form; that answers only once the
// source has come out of it bit for bit.
func (s *Service) smaller(ctx context.Context, d asset.Digest) (*os.File, int64, error) {
	r, err := s.home.Open(ctx, sourceName(d)) // held against its digest
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	file, err := s.transcode(ctx, Nobody, plan.ToJXL, r)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, 0, fault.Wrap(fault.Internal, err, "the codec's result can't be read")
	}
	return file, info.Size(), nil
}

// transcode has a stored file carried over.
func (s *Service) transcode(ctx context.Context, urgency Urgency, to string, r blob.Reader) (*os.File, error) {
	filer, ok := r.(blob.Filer)
	if !ok {
		return nil, fault.New(fault.Internal, "the store does not keep local files")
	}
	file, err := filer.File()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the source could not be opened; try again")
	}
	defer file.Close()
	return s.codec.Transcode(ctx, urgency, plan.Transcode{To: to}, file)
}

// store writes the smaller form while nobody can take the source away: none ever
// comes after its source has gone, so that who removes the source first and the
// smaller form then has removed all.
func (s *Service) store(ctx context.Context, d asset.Digest, r io.Reader) (why string, err error) {
	defer s.home.Keep(sourceName(d))()
	if there, err := s.there(ctx, sourceName(d)); err != nil || !there {
		return whyGone, err
	}
	w, err := s.home.Create(ctx)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	if _, err := io.Copy(w, r); err != nil {
		return "", err
	}
	return "", w.Commit(ctx, smallName(d))
}

func (s *Service) there(ctx context.Context, name string) (bool, error) {
	_, err := s.home.Stat(ctx, name)
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

// exchange removes the source, once its smaller form is proven: unless it was
// written again since, and only while that form is the one that was looked at.
func (s *Service) exchange(ctx context.Context, src asset.Source, small blob.Info, before time.Time) (Outcome, error) {
	err := s.records.PutRecompression(ctx, catalog.Recompression{
		Source: src.Digest, Bytes: small.Bytes, Tried: time.Now().UTC().Truncate(time.Millisecond),
	})
	if missing(err) { // the last image has gone; what it leaves, the sweep takes
		return Outcome{Reason: whyGone}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	gone, err := s.home.Remove(ctx, sourceName(src.Digest), before, func() (bool, error) {
		info, err := s.home.Stat(ctx, small.Name)
		if missing(err) {
			return false, nil
		}
		return err == nil && info.Bytes == small.Bytes && info.Modified.Equal(small.Modified), err
	})
	if err != nil {
		return Outcome{}, err
	}
	if !gone {
		there, err := s.there(ctx, sourceName(src.Digest))
		return Outcome{Reason: whyChanged, Wait: there}, err
	}
	s.stats.sources.Add(1)
	s.stats.saved.Add(src.Bytes - small.Bytes)
	return Outcome{Bytes: small.Bytes}, nil
}
