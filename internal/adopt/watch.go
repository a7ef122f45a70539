package adopt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"safelight/internal/client"
)

// WatchConfig says how a tree is followed.
type WatchConfig struct {
	// Delete lets the images of deleted files go. Only those go whose files
	// this process has seen, and whose keys still have their bytes.
	Delete bool
	// Settle is how long a path must be quiet before it is looked at; 0 is
	// half a second.
	Settle time.Duration
	// Following is called when the first pass is over; nil is not.
	Following func()
}

// Watch takes a tree in and follows its changes until ctx ends. What the kernel
// tells is believed only as far as which path to look at; a path is looked at as
// it is once it is quiet. When the kernel has lost count, everything is looked
// at.
func (a *Adoption) Watch(ctx context.Context, config WatchConfig) error {
	w, err := a.newWatch(config)
	if err != nil {
		return err
	}
	return w.run(ctx)
}

func (a *Adoption) newWatch(config WatchConfig) (*watch, error) {
	t, ok := a.place.(*tree)
	if !ok {
		return nil, errors.New("only directories can be watched")
	}
	if config.Settle == 0 {
		config.Settle = 500 * time.Millisecond
	}
	root, err := filepath.Abs(t.path)
	if err != nil {
		return nil, err
	}
	kernel, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, fmt.Errorf("the kernel can't be asked for changes: %w", err)
	}
	a.watching = true
	w := &watch{
		Adoption: a, tree: t, root: root, config: config, kernel: kernel,
		dirs: map[string]bool{}, due: map[string]time.Time{}, busy: map[string]bool{}, seen: map[string]bool{},
		changed: make(chan struct{}, 1),
	}
	w.mu.all = true
	return w, nil
}

// run follows the tree until ctx ends.
func (w *watch) run(ctx context.Context) error {
	defer func() { _ = w.kernel.Close() }()
	ctx, w.stop = context.WithCancelCause(ctx)
	defer w.stop(nil)
	var listening sync.WaitGroup
	listening.Go(func() { w.listen(ctx) })
	err := w.work(ctx)
	w.stop(err)
	listening.Wait()
	w.working.Wait()
	return context.Cause(ctx)
}

// watch follows one tree.
type watch struct {
	*Adoption
	tree    *tree
	root    string
	config  WatchConfig
	kernel  *fsnotify.Watcher
	stop    context.CancelCauseFunc
	working sync.WaitGroup
	changed chan struct{} // something in mu is to be looked at

	mu   guarded
	dirs map[string]bool      // that the kernel watches
	due  map[string]time.Time // paths to look at, and from when on
	busy map[string]bool      // paths that are being looked at
	seen map[string]bool      // files that were there
}

// guarded is what the listener and the workers share; it guards watch's maps
// too.
type guarded struct {
	sync.Mutex
	all bool // everything is to be looked at
}

func (w *watch) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// listen notes what the kernel tells.
func (w *watch) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.kernel.Events:
			if !ok {
				return
			}
			name, below := strings.CutPrefix(e.Name, w.root+"/")
			switch {
			case below: // changed rights too: it may be readable by now
				w.event(ctx, name, e.Op)
			case e.Name == w.root && e.Has(fsnotify.Remove|fsnotify.Rename):
				w.stop(fmt.Errorf("%s is gone", w.root))
			}
		case _, ok := <-w.kernel.Errors: // events were lost, whatever it says
			if !ok {
				return
			}
			w.everythingIsDue()
		}
	}
}

func (w *watch) everythingIsDue() {
	w.mu.Lock()
	w.mu.all = true
	w.mu.Unlock()
	w.wake()
}

// event notes a path. Directories are watched at once, so that as little as
// possible happens in them before; and once more when they are quiet, as a
// directory that was renamed loses its watch.
func (w *watch) event(ctx context.Context, name string, op fsnotify.Op) {
	if op.Has(fsnotify.Remove | fsnotify.Rename) {
		w.unwatch(name)
	}
	if op.Has(fsnotify.Create) {
		if info, err := w.tree.root.Lstat(name); err == nil && info.IsDir() {
			if err := w.follow(ctx, name); err != nil {
				w.stop(err)
				return
			}
		}
	}
	w.note(name)
}

// note has a path looked at once it is quiet.
func (w *watch) note(name string) {
	w.mu.Lock()
	w.due[name] = time.Now().Add(w.config.Settle)
	w.mu.Unlock()
	w.wake()
}

// unwatch forgets the watches of a directory that went away, those below it too:
// their paths may become others'.
func (w *watch) unwatch(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dirs[name] {
		return
	}
	for dir := range w.dirs {
		if dir == name || strings.HasPrefix(dir, name+"/") {
			_ = w.kernel.Remove(filepath.Join(w.root, dir)) // it may be gone with its directory
			delete(w.dirs, dir)
		}
	}
}

// follow watches a directory and those in it, and notes the files that are in
// them already.
func (w *watch) follow(ctx context.Context, dir string) error {
	return fs.WalkDir(w.tree.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil: // it went away, or can't be read; a pass tells of it
			return nil
		case !d.IsDir():
			if dir != "." {
				w.note(name)
			}
			return nil
		}
		return w.add(name)
	})
}

// add watches one directory.
func (w *watch) add(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.kernel.Add(filepath.Join(w.root, name))
	switch {
	case err == nil:
		w.dirs[name] = true
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%d directories are watched and the kernel allows no more: raise fs.inotify.max_user_watches", len(w.dirs))
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.ENOTDIR):
		return err
	}
	return nil
}

// work looks at what is due, until ctx ends.
func (w *watch) work(ctx context.Context) error {
	slots := make(chan struct{}, w.Adoption.config.Parallel)
	first := true
	for {
		w.mu.Lock()
		all := w.mu.all && len(w.busy) == 0
		if all {
			w.mu.all = false
		}
		w.mu.Unlock()
		if all {
			if err := w.everything(ctx, first); err != nil {
				return err
			}
			if first && w.config.Following != nil {
				w.config.Following()
			}
			first = false
			w.enduring.Store(true)
			continue
		}
		name, next := w.next()
		if name != "" {
			slots <- struct{}{}
			w.working.Go(func() {
				defer func() { <-slots }()
				if err := w.look(ctx, name); err != nil {
					w.stop(err)
				}
				w.mu.Lock()
				delete(w.busy, name)
				w.mu.Unlock()
				w.wake()
			})
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-w.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next takes a path that is due, or tells how long there is none. While
// everything waits to be looked at, nothing else is begun.
func (w *watch) next() (name string, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait = time.Hour
	if w.mu.all {
		return "", wait
	}
	now := time.Now()
	for candidate, at := range w.due {
		if w.busy[candidate] {
			continue
		}
		if left := at.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(w.due, candidate)
		w.busy[candidate] = true
		return candidate, 0
	}
	return "", wait
}

// everything watches all directories and looks at all files. After the first
// time, files that are not found any more are looked at too.
func (w *watch) everything(ctx context.Context, first bool) error {
	if err := w.follow(ctx, "."); err != nil {
		return err
	}
	rule := client.Replace
	if first {
		rule = client.Refuse
	}
	entries, err := w.pass(ctx, rule)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.name] = true
	}
	w.mu.Lock()
	gone := w.seen
	w.seen = there
	w.mu.Unlock()
	for name := range gone {
		if !there[name] {
			w.note(name)
			w.saw(name)
		}
	}
	return nil
}

func (w *watch) saw(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = true
}

// look deals with one path as it is now.
func (w *watch) look(ctx context.Context, name string) error {
	info, err := w.tree.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return w.gone(ctx, name)
	case err != nil:
		return w.tell(Result{File: name, State: Failed, Reason: reasonOf(err)})
	case info.IsDir():
		return w.again(ctx, name)
	}
	e, ok := w.tree.look(name, info.Mode().Type())
	if !ok {
		return nil // it became a directory: another event follows
	}
	w.saw(name)
	return w.take(ctx, e, client.Replace)
}

// again watches a directory once more, if its watch was lost.
func (w *watch) again(ctx context.Context, name string) error {
	w.mu.Lock()
	watched := w.dirs[name]
	w.mu.Unlock()
	if watched {
		return w.add(name)
	}
	return w.follow(ctx, name)
}

// gone deals with a path at which there is nothing any more: a file, or a
// directory with all that was in it.
func (w *watch) gone(ctx context.Context, name string) error {
	if _, err := os.Stat(w.root); err != nil {
		return fmt.Errorf("%s is gone: %w", w.root, err)
	}
	names := w.forget(name)
	if !w.config.Delete {
		return nil
	}
	for _, file := range names {
		if _, err := w.tree.root.Lstat(path.Clean(file)); err == nil {
			w.note(file) // it is back
			continue
		}
		if err := w.drop(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// forget takes out the files that were seen at a path, or below it.
func (w *watch) forget(name string) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[name] {
		delete(w.seen, name)
		return []string{name}
	}
	for file := range w.seen {
		if strings.HasPrefix(file, name+"/") {
			names = append(names, file)
			delete(w.seen, file)
		}
	}
	return names
}
