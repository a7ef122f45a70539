package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Reason says why something is to be published.
type Reason string

// The reasons.
const (
	Unfinished  Reason = "unfinished"  // begun more than an hour ago
	Missing     Reason = "missing"     // confirmed, but not there
	Resized     Reason = "resized"     // confirmed, but of another size
	Damaged     Reason = "damaged"     // confirmed, but with other bytes
	Outdated    Reason = "outdated"    // the rendition has other bytes by now
	Unpublished Reason = "unpublished" // wanted, but there is no row
	Unrendered  Reason = "unrendered"  // wanted, but there is no rendition to publish
)

// Due is something to publish (again).
type Due struct {
	Image               asset.ID
	Owner               string
	Preset, Destination string
	Reason              Reason
}

// Depth says how closely objects are looked at.
type Depth uint8

// The depths.
const (
	Sizes Depth = iota // that they are there and of the right size
	Bytes              // every byte
)

// Plan says what Reconcile does. Functions that are nil are not called; an
// error of theirs ends it.
type Plan struct {
	Depth Depth
	// Wanted lists the presets that are to be published of an image. Sources
	// are wanted wherever the destination takes them.
	Wanted func(asset.Image) []string
	// Due is told what is to be published; what is found twice is told twice.
	Due func(Due) error
	// Stray is told of objects at a destination that no row has. They are
	// never deleted: the bucket is the operator's.
	Stray func(destination string, object blob.Info) error
	// Progress is told how many of the rows were held against destinations.
	Progress func(done, total int)
}

// Report counts what Reconcile found.
type Report struct {
	Checked int // rows of publications
	Due     int
	Removed int // withdrawn ones whose objects are gone for good
	Strays  int
}

const pageRows = 500

// Reconcile holds every publication against its destination, and the
// destinations against the catalog. It needs memory for a page of rows only,
// and may run while everything else does. A destination that fails is passed
// over from there on; the error, at the end, says which.
func (s *Service) Reconcile(ctx context.Context, plan Plan) (Report, error) {
	r := reconciliation{Service: s, plan: plan, down: map[string]error{}}
	for _, pass := range []func(context.Context) error{r.publications, r.images, r.strays} {
		if err := pass(ctx); err != nil {
			return r.report, err
		}
	}
	var failed failures
	for name, err := range r.down {
		failed.add(name, err)
	}
	return r.report, failed.err("not every destination could be looked at")
}

type reconciliation struct {
	*Service
	plan   Plan
	report Report
	down   map[string]error // destinations that failed
}

func (r *reconciliation) due(p catalog.Publication, reason Reason) error {
	r.report.Due++
	if r.plan.Due == nil {
		return nil
	}
	return r.plan.Due(Due{p.Image, p.Owner, p.Preset, p.Destination, reason})
}

// failed notes that a destination can't be looked at, unless ctx has ended.
func (r *reconciliation) failed(ctx context.Context, destination string, err error) error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if r.down[destination] == nil {
		r.down[destination] = err
	}
	return nil
}

// publications goes through all rows.
func (r *reconciliation) publications(ctx context.Context) error {
	total, err := r.records.CountPublications(ctx)
	if err != nil {
		return err
	}
	q := catalog.PublicationQuery{Limit: pageRows}
	for {
		page, err := r.records.ListPublications(ctx, q)
		if err != nil {
			return err
		}
		for _, p := range page {
			q.After = p
			if err := r.check(ctx, p); err != nil {
				return err
			}
			r.report.Checked++
		}
		if r.plan.Progress != nil {
			r.plan.Progress(r.report.Checked, max(total, r.report.Checked))
		}
		if len(page) < pageRows {
			return nil
		}
	}
}

func (r *reconciliation) check(ctx context.Context, p catalog.Publication) error {
	if r.down[p.Destination] != nil {
		return nil
	}
	switch {
	case p.State == catalog.Confirmed:
		return r.confirmed(ctx, p)
	case time.Since(p.Updated) < r.settle:
		return nil
	case p.State == catalog.Writing:
		return r.due(p, Unfinished)
	}
	gone, err := r.remove(ctx, p)
	if err != nil {
		return r.failed(ctx, p.Destination, err)
	}
	if gone {
		if gone, err = r.records.ForgetPublication(ctx, p); gone {
			r.report.Removed++
		}
	}
	return err
}

// confirmed looks for a confirmed object.
func (r *reconciliation) confirmed(ctx context.Context, p catalog.Publication) error {
	d, err := r.destination(p.Destination)
	if err != nil {
		return r.failed(ctx, p.Destination, err)
	}
	info, err := d.Stat(ctx, p.Name)
	switch {
	case err != nil && fault.Of(err) == fault.NotFound:
		return r.due(p, Missing)
	case err != nil:
		return r.failed(ctx, p.Destination, err)
	case info.Bytes != p.Bytes:
		return r.due(p, Resized)
	case r.plan.Depth != Bytes:
		return nil
	}
	err = verify(ctx, d, p)
	var wrong *damaged
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &wrong):
		return r.failed(ctx, p.Destination, err)
	}
	demoted, err := r.demote(ctx, p)
	if err != nil || !demoted {
		return err
	}
	return r.due(p, Damaged)
}

// demote takes back the confirmation of a damaged object, so that Publish does
// not take its size for a proof, and tells whether it did.
func (s *Service) demote(ctx context.Context, p catalog.Publication) (bool, error) {
	if s.references[p.Destination].foreign { // nothing can be published again there
		s.log.Warn("an object that an image refers to has other bytes by now; the next scan of its mirror takes them in", "place", p.Destination, "object", p.Name)
		return false, nil
	}
	leave, err := s.turns.take(ctx, p)
	if err != nil {
		return false, err
	}
	defer leave()
	now, ok, err := s.row(ctx, p)
	if err != nil || !ok || now != p { // it was being written while we read it
		return false, err
	}
	if err := s.records.Intend(ctx, p); err != nil && fault.Of(err) != fault.NotFound {
		return false, err
	}
	return true, nil
}

// images looks for what should be published and has no row, or has a row about
// other bytes.
func (r *reconciliation) images(ctx context.Context) error {
	if r.plan.Wanted == nil || len(r.destinations) == 0 {
		return nil
	}
	var after asset.ID
	for {
		page, err := r.records.ImagesAfter(ctx, after, pageRows)
		if err != nil {
			return err
		}
		for _, img := range page {
			after = img.ID
			if err := r.image(ctx, img); err != nil {
				return err
			}
		}
		if len(page) < pageRows {
			return nil
		}
	}
}

func (r *reconciliation) image(ctx context.Context, img asset.Image) error {
	renditions, err := r.records.RenditionsOf(ctx, img.Owner, img.ID)
	if err != nil {
		return err
	}
	rows, err := r.records.PublicationsOf(ctx, img.ID)
	if err != nil {
		return err
	}
	digests := map[string]asset.Digest{"": img.Source.Digest}
	for _, rendition := range renditions {
		digests[rendition.Preset] = rendition.Digest
	}
	published := map[[2]string]catalog.Publication{}
	for _, p := range rows {
		if p.State != catalog.Withdrawn {
			published[[2]string{p.Preset, p.Destination}] = p
		}
	}
	wanted := append([]string{""}, r.plan.Wanted(img)...)
	for name, d := range r.destinations {
		for _, preset := range wanted {
			if !d.takes(img, preset) {
				continue
			}
			digest, made := digests[preset]
			row, known := published[[2]string{preset, name}]
			p := catalog.Publication{Image: img.ID, Owner: img.Owner, Preset: preset, Destination: name}
			var reason Reason
			switch {
			case !made:
				reason = Unrendered
			case !known:
				reason = Unpublished
			case row.Digest != digest:
				reason = Outdated
			default:
				continue
			}
			if err := r.due(p, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// strays looks for objects without a row.
func (r *reconciliation) strays(ctx context.Context) error {
	for name, d := range r.destinations {
		if r.down[name] != nil {
			continue
		}
		var own error // of the catalog or of the plan, not of the destination
		batch := make([]blob.Info, 0, pageRows)
		flush := func() error {
			own = r.unknown(ctx, name, batch)
			batch = batch[:0]
			return own
		}
		err := d.List(ctx, "", func(info blob.Info) error {
			if batch = append(batch, info); len(batch) == pageRows {
				return flush()
			}
			return nil
		})
		if err == nil && len(batch) > 0 {
			err = flush()
		}
		switch {
		case own != nil:
			return own
		case err != nil:
			if err := r.failed(ctx, name, fmt.Errorf("list its objects: %w", err)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reconciliation) unknown(ctx context.Context, destination string, objects []blob.Info) error {
	names := make([]string, len(objects))
	at := make(map[string]blob.Info, len(objects))
	for i, o := range objects {
		names[i], at[o.Name] = o.Name, o
	}
	strays, err := r.records.UnknownNames(ctx, destination, names)
	if err != nil {
		return err
	}
	for _, name := range strays {
		r.report.Strays++
		if r.plan.Stray != nil {
			if err := r.plan.Stray(destination, at[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
