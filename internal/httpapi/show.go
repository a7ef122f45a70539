package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/dialect/native"
	"safelight/internal/fault"
	"safelight/internal/render"
	"safelight/internal/scrub"
)

// finder finds the image that a request names. name is what answers about it
// depend on: its key or its id.
type finder func(r *http.Request, owner string) (name string, find func(context.Context) (asset.Image, error), err error)

func (s *Server) byKey(r *http.Request, owner string) (string, func(context.Context) (asset.Image, error), error) {
	key := r.PathValue("key")
	if err := asset.CheckKey(key); err != nil {
		return "", nil, err
	}
	return key, func(ctx context.Context) (asset.Image, error) { return s.Catalog.Resolve(ctx, owner, key) }, nil
}

func (s *Server) byID(r *http.Request, owner string) (string, func(context.Context) (asset.Image, error), error) {
	id, err := s.Mint.Parse(r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	return id.String(), func(ctx context.Context) (asset.Image, error) { return s.Catalog.Image(ctx, owner, id) }, nil
}

// show answers with an original or a rendition.
func (s *Server) show(find finder) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.tryShow(w, r, find); err != nil {
			s.fail(w, r, err)
		}
	}
}

func (s *Server) tryShow(w http.ResponseWriter, r *http.Request, find finder) error {
	reader, err := s.reader(r)
	if err != nil {
		return err
	}
	req, err := native.Parse(r.URL.RawQuery, s.Presets)
	if err != nil {
		return err
	}
	name, image, err := find(r, reader.Owner)
	if err != nil {
		return err
	}
	epoch := s.Purge.Epochs().Of(reader.Owner, name)
	at := epoch.Load() // before the lookup, so that a change meanwhile counts
	img, err := image(r.Context())
	if err != nil {
		return err
	}
	s.pictureHeaders(w)
	if req.Original() {
		setDisposition(w.Header(), req, img, img.Source.Header.Format.Ext())
		return s.original(w, r, img)
	}
	accept := s.accept(first(r.Header["Accept"]))
	entry, status, err := s.Render.Rendition(r.Context(), img, req.Options, accept)
	if err != nil {
		return err
	}
	defer entry.Close()
	s.Metrics.Rendition(status)
	etag := fmt.Sprintf("%q", entry.Meta.Digest)
	h := w.Header()
	h.Set("Content-Type", entry.Meta.Format.MIME())
	h.Set("Etag", etag)
	if req.Options.Auto {
		h.Set("Vary", "Accept")
	}
	if req.Attach {
		setDisposition(h, req, img, entry.Meta.Format.Ext())
	}
	if req.Options.Watermark.Key == "" { // otherwise it depends on another key too
		s.prepare(r, reader.Owner, accept, epoch, at, h, entry, etag)
	}
	h.Set("Cache-Status", cacheStatus[status])
	s.send(w, r, entry)
	return nil
}

var cacheStatus = map[render.Status]string{
	render.FromMemory: "Safelight; hit; detail=memory",
	render.FromDisk:   "Safelight; hit; detail=disk",
	render.Made:       "Safelight; fwd=miss; stored",
	render.Joined:     "Safelight; fwd=miss; collapsed",
	render.FromHome:   "Safelight; hit; detail=home",
	render.FromShared: "Safelight; hit; detail=shared",
}

// pictureHeaders are those of every picture: it is never taken for a page or a
// script, whatever its bytes.
func (s *Server) pictureHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	control := s.config.CacheControl
	if !s.config.PublicRead && !s.Auth.Empty() {
		control = strings.Replace(control, "public", "private", 1)
	}
	h.Set("Cache-Control", control)
	if s.config.PublicRead && !s.Auth.Empty() {
		h.Set("Access-Control-Allow-Origin", "*") // pages of other sites may read what everybody may
	}
}

// setDisposition names the file for a reader who saves it; dl makes a download
// of it. The name is safe: cleaned, and its extension that of the bytes.
func setDisposition(h http.Header, req native.Request, img asset.Image, ext string) {
	name, kind := img.Name, "inline"
	if req.Attach {
		kind = "attachment"
		if clean := asset.CleanName(req.Download); clean != "" {
			name = clean
		}
	}
	if name == "" {
		name = img.ID.String()
	}
	name = strings.TrimSuffix(name, path.Ext(name)) + "." + ext
	h.Set("Content-Disposition", mime.FormatMediaType(kind, map[string]string{"filename": name}))
}

// send writes an entry: whole, a part of it, or word that the client has it.
func (s *Server) send(w http.ResponseWriter, r *http.Request, e *cache.Entry) {
	patience(w, e.Meta.Bytes)
	if e.Data != nil {
		if r.Method == http.MethodGet && r.Header["Range"] == nil && r.Header["If-None-Match"] == nil {
			w.Header().Set("Content-Length", strconv.Itoa(len(e.Data)))
			_, _ = w.Write(e.Data)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(e.Data))
		return
	}
	if info, err := e.File.Stat(); err == nil && info.Size() == e.Meta.Bytes {
		http.ServeContent(w, r, "", time.Time{}, e.File)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, &bounded{e.File, e.Meta.Bytes})
}

// original answers with the source's own bytes, without its location unless
// that is to be kept.
func (s *Server) original(w http.ResponseWriter, r *http.Request, img asset.Image) error {
	src := img.Source
	rd, err := s.Home.Open(r.Context(), blob.SourceName(src.Digest.String()))
	if err != nil {
		if fault.Of(err) == fault.NotFound {
			return fault.Wrap(fault.Internal, err, "the source's bytes are missing from the store")
		}
		return err
	}
	defer rd.Close()
	if got := rd.Info().Bytes; got != src.Bytes {
		return fault.New(fault.Internal, "the stored bytes of %s are %d long, not %d", src.Digest, got, src.Bytes)
	}
	patience(w, src.Bytes)
	h := w.Header()
	// The date is for people. Conditions go by the entity tag: a key can point
	// elsewhere twice in the second that a date can tell.
	h.Set("Last-Modified", img.Created.UTC().Format(http.TimeFormat))
	h.Set("Content-Type", src.Header.Format.MIME())
	h.Set("Etag", originalTag(img))
	if src.Header.Location && !s.config.KeepLocation {
		patches, err := scrub.Plan(rd, src.Bytes, src.Header.Format)
		if err != nil {
			return err
		}
		h.Set("Etag", fmt.Sprintf("\"%s-scrubbed\"", src.Digest))
		http.ServeContent(w, r, "", time.Time{}, scrub.NewReader(rd, src.Bytes, patches))
		return nil
	}
	content := io.ReadSeeker(rd)
	_, copied := rd.(blob.Copied)
	if filer, ok := rd.(blob.Filer); ok && !copied { // a plain file goes to the socket by sendfile
		f, err := filer.File()
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "the source could not be opened; try again")
		}
		defer f.Close()
		content = f
	}
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// bounded is the first bytes of a longer file, for reading in order or from
// anywhere.
type bounded struct {
	io.ReadSeeker
	size int64
}

func (b *bounded) Read(p []byte) (int, error) {
	at, err := b.ReadSeeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if at >= b.size {
		return 0, io.EOF
	}
	return b.ReadSeeker.Read(p[:min(int64(len(p)), b.size-at)])
}

func (b *bounded) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return b.ReadSeeker.Seek(b.size+offset, io.SeekStart)
	}
	return b.ReadSeeker.Seek(offset, whence)
}
