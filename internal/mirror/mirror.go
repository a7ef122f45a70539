// Package mirror keeps images in step with the objects of buckets. What a bucket
// says of a change is believed only as far as which object to look at: a task
// looks at the object as it is then, and stores, replaces or deletes its image.
// So it does not matter if news come twice, late, or in another order.
package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"path"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/ingest"
	"safelight/internal/publish"
	"safelight/internal/purge"
	"safelight/internal/task"
	"safelight/internal/work"
)

// Names of the functions: Look deals with one object, Scan has all looked at that
// may differ, Release removes the home copy of an original that is read from
// where it lies.
const (
	Look    = "mirror"
	Scan    = "mirror-scan"
	Release = "mirror-release"
)

// Deps are the parts that mirrors need.
type Deps struct {
	Stores  map[string]blob.Store // one for each place
	Ingest  *ingest.Service
	Purge   *purge.Service
	Catalog catalog.Catalog
	Publish *publish.Service
	Queue   task.Queue
	Log     *slog.Logger
}

// Service keeps mirrors. It is safe for concurrent use.
type Service struct {
	Deps
	config Config
}

// New makes a service over its parts.
func New(config Config, deps Deps) *Service { return &Service{deps, config} }

// Functions are the service's, with the policies they come with.
func Functions() map[string]work.Function {
	return map[string]work.Function{
		Look:    {Policy: task.Policy{Timeout: 10 * time.Minute, Concurrency: 4}},
		Release: {Policy: task.Policy{Timeout: time.Hour, MaxPostpones: 100_000}},
		Scan:    {Pool: Scan, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1}},
	}
}

// Bind puts the service's methods behind the functions.
func (s *Service) Bind(functions map[string]work.Function) {
	for name, do := range map[string]func(context.Context, *work.Run) (work.Outcome, error){Look: s.look, Scan: s.scan, Release: s.release} {
		f := functions[name]
		f.Do = do
		functions[name] = f
	}
}

// args are the arguments of both functions.
type args struct {
	Mirror string `json:"mirror"`
	Object string `json:"object,omitempty"`
	All    bool   `json:"all,omitempty"` // of a scan: what seems unchanged too
}

// lookTask has one object looked at. While one waits there is no second; one
// that runs, runs again.
func (s *Service) lookTask(mirror, object string, priority int) task.New {
	a, _ := json.Marshal(args{Mirror: mirror, Object: object}) // strings can't fail
	id := sha256.Sum256([]byte(object))
	return task.New{
		Owner: s.config.Mirrors[mirror].OwnerName(), Function: Look, Name: mirror + "/" + hex.EncodeToString(id[:16]), Args: a, Priority: priority,
	}
}

// Object names an object by its bucket.
type Object struct{ Bucket, Name string }

// Changed has objects looked at which an owner's mirrors have, and tells how many
// tasks that makes. Others are no error: a bucket may have more than is
// mirrored.
func (s *Service) Changed(ctx context.Context, owner string, objects []Object) (tasks int, err error) {
	var list []task.New
	for _, o := range objects {
		for name, p := range s.config.Mirrors {
			below, ok := p.object(o.Bucket, o.Name)
			if ok && p.OwnerName() == owner && len(below) <= asset.MaxKeyBytes {
				list = append(list, s.lookTask(name, below, task.Normal))
			}
		}
	}
	return len(list), s.submit(ctx, list)
}

// submit stores tasks, in parts that the queue takes.
func (s *Service) submit(ctx context.Context, list []task.New) error {
	for len(list) > 0 {
		n := min(len(list), task.MaxBatch)
		if _, err := s.Queue.Submit(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// place finds what a task is about, if it is its owner's.
func (s *Service) place(t task.Task) (args, Place, blob.Store, error) {
	var a args
	if err := json.Unmarshal(t.Args, &a); err != nil {
		return a, Place{}, nil, fault.New(fault.Invalid, "args: %s: %v", t.Function, err)
	}
	p, ok := s.config.Mirrors[a.Mirror]
	if !ok || s.Stores[a.Mirror] == nil || p.OwnerName() != t.Owner {
		return a, p, nil, fault.New(fault.Unavailable, "there is no mirror %q in this node's configuration for the owner %s", a.Mirror, t.Owner) // while settings change, not all nodes have the same
	}
	return a, p, s.Stores[a.Mirror], nil
}

// result is what became of an object.
type result struct {
	State  string `json:"state"` // stored, replaced, present, deleted, kept, skipped
	Key    string `json:"key,omitempty"`
	Reason string `json:"reason,omitempty"`
	Image  string `json:"image,omitempty"`
}

// look makes a key what its object is.
func (s *Service) look(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, p, store, err := s.place(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	key := p.key(a.Object)
	if err := asset.CheckKey(key); err != nil {
		return work.Outcome{}, err
	}
	was, err := s.Catalog.Resolve(ctx, r.Task.Owner, key)
	if err != nil && fault.Of(err) != fault.NotFound {
		return work.Outcome{}, err
	}
	object, err := store.Open(ctx, a.Object)
	var out result
	img := was
	switch {
	case err == nil:
		out, img, err = s.take(ctx, r.Task.Owner, key, was, object)
		_ = object.Close()
	case fault.Of(err) == fault.NotFound:
		out, err = s.drop(ctx, p, was)
	}
	out.Key = key
	if err != nil || !p.Reference || out.State != "stored" && out.State != "replaced" && out.State != "present" {
		return work.Outcome{Result: out}, err
	}
	next, err := s.refer(ctx, a, p, img)
	return work.Outcome{Result: out, Next: next}, err
}

// headBytes is how much of an object tells its format.
const headBytes = 512

// take stores an object, unless the key has its bytes already.
func (s *Service) take(ctx context.Context, owner, key string, was asset.Image, object blob.Reader) (result, asset.Image, error) {
	head := make([]byte, headBytes)
	n, err := io.ReadFull(object, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return result{}, was, away(err)
	}
	if !format.Sniff(head[:n]).Source() {
		return result{State: "skipped", Reason: "it is no picture"}, was, nil
	}
	f := ingest.File{Owner: owner, Key: key, Name: path.Base(key), Rule: catalog.Replace}
	spooled, err := s.Ingest.Receive(ctx, f, classified{io.MultiReader(strings.NewReader(string(head[:n])), object)})
	if err != nil {
		return result{}, was, err
	}
	if was.ID != (asset.ID{}) && was.Source.Digest == spooled.Digest {
		spooled.Discard()
		return result{State: "present"}, was, nil
	}
	stored, err := s.Ingest.Store(ctx, spooled)
	if err != nil {
		return result{}, was, err
	}
	out := result{State: "stored", Image: stored.Image.ID.String()}
	if stored.Replaced.ID != (asset.ID{}) {
		s.Purge.Gone(ctx, stored.Replaced)
		out.State = "replaced"
	}
	return out, stored.Image, nil
}

// classified reads an object whose errors are not the client's.
type classified struct{ r io.Reader }

func (c classified) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = away(err)
	}
	return n, err
}

// away is an error of reading from a bucket: it may work later.
func away(err error) error {
	if fault.As(err) != nil && fault.Of(err) != fault.NotFound {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "the object can't be read at the moment")
}

// drop deals with an object that is not there.
func (s *Service) drop(ctx context.Context, p Place, was asset.Image) (result, error) {
	switch {
	case was.ID == (asset.ID{}):
		return result{State: "skipped", Reason: "there is no object, and no image"}, nil
	case !p.Delete:
		return result{State: "kept", Reason: "the object is gone; mirrors without delete keep their images"}, nil
	}
	err := s.Purge.Delete(ctx, was.Owner, was.ID)
	if fault.Of(err) == fault.NotFound {
		err = nil
	}
	return result{State: "deleted"}, err
}
