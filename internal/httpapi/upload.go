package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/ingest"
)

// Limits on the text parts of an upload.
const (
	maxFieldBytes = 16 << 10
	maxFields     = 100_000
	maxTags       = 64
	maxTagBytes   = 128
	storeDeadline = 2 * time.Minute
)

// upload takes a multipart body of any number of files. Files are received one
// after the other, as they come, and stored several at once behind that, so
// that they share fsyncs and transactions; results never hold up the body.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	header := &headerLimit{ReadCloser: r.Body}
	r.Body = header
	parts, err := r.MultipartReader()
	if err != nil {
		s.fail(w, r, fault.New(fault.Unsupported, "expected a multipart/form-data body with a boundary: curl -F image=@photo.jpg"))
		return
	}
	token, err := idempotencyKey(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	u := &uploading{
		server: s, request: r, token: token, slots: make(chan struct{}, s.config.Parallel),
		answer: newAnswer(w, r), header: header,
	}
	u.read(parts)
	u.storing.Wait()
	u.answer.finish(s, w, r) // also to a client that seems gone: it may only have closed its side
}

// idempotencyKey reads the header of that name, quotes taken off.
func idempotencyKey(r *http.Request) (string, error) {
	return checkToken(r.Header.Get("Idempotency-Key"))
}

func checkToken(header string) (string, error) {
	token := strings.Trim(header, `" `)
	if len(token) > 255 {
		return "", fault.Limit(fault.Invalid, "Idempotency-Key length", 255, int64(len(token)), "the Idempotency-Key has %d bytes; the limit is 255", len(token))
	}
	return token, nil
}

// uploading is one upload request under way.
type uploading struct {
	server  *Server
	request *http.Request
	token   string
	slots   chan struct{} // held by files that are being stored
	storing sync.WaitGroup
	answer  *results
	header  *headerLimit

	files, texts int
	fields       fields
}

// fields are the text parts, which apply to the files after them.
type fields struct {
	key, prefix, category string
	tags                  []string
	unused                []string // names of those that no file has followed yet
}

// read goes through the parts until the body ends or can't go on.
func (u *uploading) read(parts *multipart.Reader) {
	for {
		u.header.start()
		part, err := parts.NextPart()
		u.header.stop()
		if err == io.EOF {
			if late := u.fields.unused; len(late) > 0 {
				u.answer.warn("no file came after " + strings.Join(late, ", ") + ", so they apply to none: fields apply to the files after them")
			}
			return
		}
		if err != nil {
			u.broken(err)
			return
		}
		name, isFile := fileName(part)
		if !isFile {
			if err := u.text(part); err != nil {
				u.answer.add(u.files, result{Name: part.FormName(), err: err})
				return
			}
			continue
		}
		limit := u.server.Ingest.Config().MaxFiles
		if u.files == limit {
			u.answer.add(u.files, result{Name: name, err: fault.Limit(fault.TooLarge, "ingest.max_files", int64(limit), int64(limit)+1,
				"a request may hold %d files; this one and what follows were not taken", limit)})
			return
		}
		if !u.file(part, name) {
			return
		}
		if _, err := io.Copy(io.Discard, part); err != nil { // what a refused file left unread
			u.broken(err)
			return
		}
	}
}

// headerLimit bounds what is read for one part's header, which mime/multipart
// would hold in memory up to 10 MB.
type headerLimit struct {
	io.ReadCloser
	left int // bytes; 0 is no limit
}

const maxPartHeader = 64 << 10

func (h *headerLimit) start() { h.left = maxPartHeader }
func (h *headerLimit) stop()  { h.left = 0 }

func (h *headerLimit) Read(p []byte) (int, error) {
	if h.left == 0 {
		return h.ReadCloser.Read(p)
	}
	if h.left == 1 {
		return 0, fault.Limit(fault.Invalid, "part header bytes", maxPartHeader, maxPartHeader+1, "the header of a part is longer than %d bytes", maxPartHeader)
	}
	n, err := h.ReadCloser.Read(p[:min(len(p), h.left-1)])
	h.left -= n
	return n, err
}

// fileName is the client's name of a file part, and whether the part is one: it
// has a file name, be it empty, or a media type of its own that is no text.
func fileName(part *multipart.Part) (string, bool) {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err == nil {
		if name, ok := params["filename"]; ok {
			return name, true
		}
	}
	media := part.Header.Get("Content-Type")
	return part.FormName(), media != "" && !strings.HasPrefix(media, "text/")
}

// text takes a text part.
func (u *uploading) text(part *multipart.Part) error {
	if u.texts++; u.texts > maxFields {
		return fault.Limit(fault.TooLarge, "text fields", maxFields, maxFields+1, "a request may hold %d text fields", maxFields)
	}
	raw, err := io.ReadAll(io.LimitReader(part, maxFieldBytes+1))
	if err != nil {
		return bodyError(err)
	}
	if len(raw) > maxFieldBytes {
		return fault.Limit(fault.TooLarge, "text field bytes", maxFieldBytes, int64(len(raw)), "the field %q is longer than %d bytes", part.FormName(), maxFieldBytes)
	}
	value := strings.TrimSpace(string(raw))
	switch part.FormName() {
	case "key", "prefix", "category", "tags":
		if !slices.Contains(u.fields.unused, part.FormName()) {
			u.fields.unused = append(u.fields.unused, part.FormName())
		}
	}
	switch part.FormName() {
	case "key":
		u.fields.key, err = value, checkUnless(value)
	case "prefix":
		u.fields.prefix, err = value, checkUnless(strings.TrimSuffix(value, "/"))
	case "category":
		u.fields.category, err = value, checkUnless(value)
	case "tags":
		u.fields.tags, err = splitTags(value)
	}
	return err
}

// checkUnless holds a value against the rules of keys unless it is empty.
func checkUnless(value string) error {
	if value == "" {
		return nil
	}
	return asset.CheckKey(value)
}

// splitTags takes tags with commas between.
func splitTags(value string) ([]string, error) {
	var tags []string
	for tag := range strings.SplitSeq(value, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "" {
			continue
		}
		if len(tag) > maxTagBytes || asset.CheckKey(tag) != nil {
			return nil, fault.New(fault.Invalid, "tags: each tag is at most %d bytes of printable text", maxTagBytes)
		}
		tags = append(tags, tag)
	}
	if len(tags) > maxTags {
		return nil, fault.Limit(fault.Invalid, "tags", maxTags, int64(len(tags)), "an image may have %d tags", maxTags)
	}
	return tags, nil
}

// file receives one file and leaves it to be stored; false ends the request.
func (u *uploading) file(part *multipart.Part, name string) bool {
	ordinal := u.files
	u.files++
	u.fields.unused = nil
	f := ingest.File{
		Owner: principalOf(u.request).Owner, Name: name, ContentType: part.Header.Get("Content-Type"),
		Key: u.fields.key, Prefix: u.fields.prefix, Tags: u.fields.tags, Category: u.fields.category,
		Replay: catalog.Replay{Token: u.token, Ordinal: ordinal},
	}
	if f.Key != "" { // an exact key is for one file
		f.Rule, u.fields.key = catalog.Replace, ""
	}
	start := time.Now()
	u.slots <- struct{}{}
	spooled, err := u.server.Ingest.Receive(u.request.Context(), f, part)
	if err != nil {
		<-u.slots
		u.finished(ordinal, name, catalog.Result{}, err, start)
		// What is wrong with one file is not the others' matter, but a body
		// that broke off has no others.
		var e *http.MaxBytesError
		return !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &e) && fault.Of(err) != fault.Canceled && !isTimeout(err)
	}
	u.storing.Add(1)
	go func() {
		defer u.storing.Done()
		defer func() { <-u.slots }()
		// What has arrived is stored even if the client goes away: its
		// retry finds it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(u.request.Context()), storeDeadline)
		defer cancel()
		stored, err := u.server.store(ctx, spooled)
		u.finished(ordinal, name, stored, err, start)
	}()
	return true
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// store commits a received file and lets go of what it replaced.
func (s *Server) store(ctx context.Context, spooled *ingest.Spooled) (catalog.Result, error) {
	stored, err := s.Ingest.Store(ctx, spooled)
	if err == nil && stored.Replaced.ID != (asset.ID{}) {
		s.Purge.Gone(ctx, stored.Replaced)
	}
	return stored, err
}

func (u *uploading) finished(ordinal int, name string, stored catalog.Result, err error, start time.Time) {
	outcome, bytes := "stored", stored.Image.Source.Bytes
	if err != nil {
		outcome = fault.Of(err).String()
		if k := fault.Of(err); k == fault.Internal {
			u.server.log.Error("upload failed", "request_id", requestID(u.request), "name", asset.CleanName(name), "error", err)
		}
	}
	u.server.Metrics.Upload(outcome, bytes, time.Since(start))
	u.answer.add(ordinal, result{Name: name, stored: stored, err: err, server: u.server, requestID: requestID(u.request)})
}

// broken reports a body that could not be read on.
func (u *uploading) broken(err error) {
	u.answer.add(u.files, result{err: bodyError(err), requestID: requestID(u.request)})
}

func bodyError(err error) error {
	if fault.As(err) != nil {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "the multipart body is broken or ended early")
}
