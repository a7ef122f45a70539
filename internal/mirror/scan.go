package mirror

import (
	"context"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/task"
	"safelight/internal/work"
)

// scanned is what a scan has found.
type scanned struct {
	Objects   int `json:"objects"`
	Images    int `json:"images"`    // with keys of the place
	Submitted int `json:"submitted"` // tasks
}

// scan holds a place's objects against the keys, and has what may differ looked
// at: an object without an image, with one of another size, or that is newer than
// its image; and an image without an object, where such go. The place's clock
// must agree with ours: where it is behind, a change whose news was lost may be
// missed. It needs memory for all keys.
func (s *Service) scan(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, p, store, err := s.place(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	images, err := s.images(ctx, r.Task.Owner, p.keyPrefix())
	if err != nil {
		return work.Outcome{}, err
	}
	out := scanned{Images: len(images)}
	var list []task.New
	add := func(object string) error {
		list = append(list, s.lookTask(a.Mirror, object, task.Idle))
		out.Submitted++
		if len(list) < task.MaxBatch {
			return nil
		}
		full := list
		list = nil
		return s.submit(ctx, full)
	}
	err = store.List(ctx, "", func(info blob.Info) error {
		if strings.HasSuffix(info.Name, "/") || len(info.Name) > asset.MaxKeyBytes {
			return nil
		}
		if out.Objects++; out.Objects%1000 == 0 {
			r.Progress(0, "objects are listed")
		}
		had, ok := images[info.Name]
		delete(images, info.Name)
		if ok && !a.All && had.bytes == info.Bytes && !info.Modified.After(had.stored) {
			return nil
		}
		return add(info.Name)
	})
	if p.Delete && out.Objects == 0 && len(images) > 0 { // more likely a wrong address than what is wanted
		s.Log.Warn("a mirror's place is empty, so its images are kept; news of single objects still remove theirs", "mirror", a.Mirror, "images", len(images))
		clear(images)
	}
	for name := range images {
		if err == nil && p.Delete {
			err = add(name)
		}
	}
	if err == nil {
		err = s.submit(ctx, list)
	}
	return work.Outcome{Result: out}, err
}

// had is what is known of an image.
type had struct {
	bytes  int64
	stored time.Time
}

// images are those with keys of a place, by the names of their objects.
func (s *Service) images(ctx context.Context, owner, prefix string) (map[string]had, error) {
	all := map[string]had{}
	q := catalog.Query{Owner: owner, Prefix: prefix, Limit: 1000}
	for {
		page, err := s.Catalog.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, img := range page.Images {
			if name, ok := strings.CutPrefix(img.Key, prefix); ok && name != "" {
				all[name] = had{img.Source.Bytes, img.Created}
			}
			q.Before = img.ID
		}
		if !page.More || len(page.Images) == 0 {
			return all, nil
		}
	}
}
