package adopt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"safelight/internal/client"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// take deals with one file and tells what became of it. rule is for keys that
// have other bytes, unless the configuration replaces them anyway. An error ends
// everything: the server is gone, or lets nobody in.
func (a *Adoption) take(ctx context.Context, e entry, rule client.Rule) error {
	r := Result{File: e.name, State: e.state, Reason: e.reason, Bytes: e.bytes}
	if r.State != "" {
		return a.tell(r)
	}
	var err error
	if r.Key, err = a.key(e.name); err != nil {
		r.State, r.Reason = Failed, err.Error()
		return a.tell(r)
	}
	if a.config.Replace {
		rule = client.Replace
	}
	err = a.bring(ctx, e, rule, &r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && client.Fatal(err) && !a.answers(ctx, err):
		return err
	case errors.Is(err, fs.ErrNotExist), fault.Of(err) == fault.NotFound && err != nil:
		r.State, r.Reason = Skipped, "it went away meanwhile"
	case err != nil:
		r.State, r.Reason = Failed, err.Error()
	}
	a.own(r)
	return a.tell(r)
}

// own notes of a file that is in what it had, so that its image may go with it.
func (a *Adoption) own(r Result) {
	if !a.watching || r.State != Stored && r.State != Replaced && r.State != Present {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owned[r.File] = r.SHA256
}

// answers tells whether the server is there although one request has failed as
// if it were not: it may break off what it does not like.
func (a *Adoption) answers(ctx context.Context, err error) bool {
	if !client.Unreachable(err) {
		return false
	}
	_, _, err = a.client.ImageAt(ctx, "x")
	return err == nil
}

// bring sends a file unless the server has it.
func (a *Adoption) bring(ctx context.Context, e entry, rule client.Rule, r *Result) error {
	if digest, ok := a.memory.digest(e); ok && a.has(r.Key, digest) {
		r.State, r.SHA256 = Present, hex.EncodeToString(digest[:])
		return nil
	}
	c, err := a.place.open(ctx, e.name)
	if err != nil {
		return err
	}
	defer c.Close()
	picture, err := isPicture(c, e.name, r)
	if err != nil || !picture {
		return err
	}
	digest, bytes, err := sum(c)
	if err != nil {
		return err
	}
	before, followed := a.memory.last(e.name)
	a.memory.remember(e, digest)
	r.SHA256, r.Bytes = hex.EncodeToString(digest[:]), bytes
	was, taken := a.at(r.Key)
	if a.watching && followed && taken && was == before {
		rule = client.Replace // it is this file that has changed
	}
	switch {
	case taken && was == digest:
		r.State = Present
		return nil
	case taken && rule == client.Refuse:
		r.State, r.Reason = Conflict, "the key has other bytes; --replace lets it point at this file"
		return nil
	}
	return a.put(ctx, c, client.File{Key: r.Key, Bytes: bytes, SHA256: digest, Rule: rule}, r, taken)
}

// put sends a file. One that the server has stored although its answer was lost
// is found by its digest.
func (a *Adoption) put(ctx context.Context, c content, f client.File, r *Result, taken bool) error {
	err := a.patiently(ctx, func() error {
		if _, err := c.Seek(0, io.SeekStart); err != nil {
			return err
		}
		f.Body = io.LimitReader(c, f.Bytes)
		img, err := a.client.Put(ctx, f)
		r.ID = img.ID
		return err
	})
	switch {
	case err == nil:
		r.State = Stored
		if taken {
			r.State = Replaced
		}
		a.note(r.Key, f.SHA256)
		return nil
	case !client.Taken(err):
		return err
	}
	img, found, failed := a.client.ImageAt(ctx, f.Key)
	if failed != nil {
		return failed
	}
	if found && img.SHA256 == r.SHA256 {
		r.State, r.ID = Stored, img.ID
		a.note(r.Key, f.SHA256)
		return nil
	}
	r.State, r.Reason = Conflict, "somebody else has stored other bytes under the key meanwhile"
	return nil
}

// at is what the server has under a key, as far as is known.
func (a *Adoption) at(key string) (digest [32]byte, taken bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	digest, taken = a.keys[key]
	return digest, taken
}

func (a *Adoption) has(key string, digest [32]byte) bool {
	was, taken := a.at(key)
	return taken && was == digest
}

func (a *Adoption) note(key string, digest [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[key] = digest
}

// headBytes is how much of a file tells its format.
const headBytes = 512

// extensions are those that pictures have; a file of such a name is missed when
// it is not taken.
var extensions = []string{".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".heic", ".heif", ".tif", ".tiff"}

// isPicture looks at the first bytes. What is no picture is skipped, but not
// silently if its name says that it is one.
func isPicture(c content, name string, r *Result) (bool, error) {
	head := make([]byte, headBytes)
	n, err := io.ReadFull(c, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	if format.Sniff(head[:n]).Source() {
		return true, nil
	}
	r.State, r.Reason = Skipped, "no picture"
	if slices.Contains(extensions, strings.ToLower(path.Ext(name))) {
		r.State, r.Reason = Failed, "it is named like a picture, but its bytes are none"
		if n == 0 {
			r.Reason = "it is empty"
		}
	}
	return false, nil
}

// sum reads all of a file.
func sum(c content) (digest [32]byte, bytes int64, err error) {
	if _, err := c.Seek(0, io.SeekStart); err != nil {
		return digest, 0, err
	}
	h := sha256.New()
	if bytes, err = io.Copy(h, c); err != nil {
		return digest, 0, fmt.Errorf("it can't be read: %w", err)
	}
	return [32]byte(h.Sum(nil)), bytes, nil
}

// drop deletes the image of a file that is gone, if it was taken in and the key
// still has its bytes.
func (a *Adoption) drop(ctx context.Context, name string) error {
	r := Result{File: name, State: Deleted}
	a.mu.Lock()
	had, ours := a.owned[name]
	delete(a.owned, name)
	a.mu.Unlock()
	if !ours {
		return nil // what its key has is somebody else's
	}
	var err error
	if r.Key, err = a.key(name); err != nil {
		return nil // it never had one
	}
	err = a.patiently(ctx, func() error {
		img, found, err := a.client.ImageAt(ctx, r.Key)
		if err != nil || !found {
			r.State = Skipped
			return err
		}
		if had != img.SHA256 {
			r.State, r.Reason = Conflict, "the file is gone, but somebody else has stored other bytes under the key"
			return nil
		}
		r.ID = img.ID
		return a.client.Delete(ctx, img.ID)
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && client.Fatal(err):
		return err
	case err != nil:
		r.State, r.Reason = Failed, err.Error()
	case r.State == Skipped:
		return nil
	}
	if r.State == Deleted {
		a.mu.Lock()
		delete(a.keys, r.Key)
		a.mu.Unlock()
	}
	return a.tell(r)
}
