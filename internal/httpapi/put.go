package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/ingest"
)

// put stores the body under a key of the client's choosing: 201 when the key
// is new, 200 when it pointed elsewhere before.
func (s *Server) put(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	stored, err := s.putFile(r)
	outcome := "stored"
	if err != nil {
		outcome = fault.Of(err).String()
	}
	s.Metrics.Upload(outcome, stored.Image.Source.Bytes, time.Since(start))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body := s.uploaded(stored)
	w.Header().Set("Location", body.URL)
	w.Header().Set("Etag", originalTag(stored.Image))
	status := http.StatusCreated
	if stored.Replaced.ID != (asset.ID{}) {
		status = http.StatusOK
	}
	writeJSON(w, status, body)
}

func (s *Server) putFile(r *http.Request) (catalog.Result, error) {
	f := ingest.File{
		Owner: principalOf(r).Owner, Key: r.PathValue("key"), ContentType: r.Header.Get("Content-Type"), Rule: catalog.Replace,
	}
	if err := asset.CheckKey(f.Key); err != nil {
		return catalog.Result{}, err
	}
	f.Name = path.Base(f.Key)
	if limit := s.Ingest.Config(); r.ContentLength > limit.MaxFileBytes {
		return catalog.Result{}, limit.TooLarge(r.ContentLength)
	}
	if err := s.preconditions(r, &f); err != nil {
		return catalog.Result{}, err
	}
	spooled, err := s.Ingest.Receive(r.Context(), f, r.Body)
	if err != nil {
		return catalog.Result{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeDeadline)
	defer cancel()
	return s.store(ctx, spooled)
}

// preconditions reads the headers that make a PUT conditional.
func (s *Server) preconditions(r *http.Request, f *ingest.File) error {
	var err error
	if f.Replay.Token, err = idempotencyKey(r); err != nil {
		return err
	}
	if f.Replay.Token != "" {
		f.Replay.Token = "PUT " + f.Key + " " + f.Replay.Token // what is repeated is this request, not another key's
	}
	if r.Header.Get("If-Match") != "" {
		return fault.New(fault.Invalid, "If-Match is not supported here; If-None-Match: * refuses to replace")
	}
	if r.Header.Get("Content-Range") != "" {
		return fault.New(fault.Invalid, "a part of a file can't be stored (Content-Range); send all of it")
	}
	if f.Want, err = promised(r.Header); err != nil {
		return err
	}
	switch match := strings.TrimSpace(strings.Join(r.Header.Values("If-None-Match"), ",")); {
	case match == "":
	case match != "*":
		return fault.New(fault.Invalid, "If-None-Match: only * is supported here; it refuses to replace")
	case f.Replay.Token != "":
		f.Rule = catalog.Refuse // whether it is a repetition is known when it has arrived
	default:
		f.Rule = catalog.Refuse
		if _, err := s.Catalog.Resolve(r.Context(), f.Owner, f.Key); err == nil {
			return fault.New(fault.Precondition, "the key %q exists, and If-None-Match: * asks not to replace it", f.Key)
		}
	}
	return nil
}

// promised is the SHA-256 that Content-Digest (RFC 9530) or the older Digest
// (RFC 3230) names; nil where there is none. Other algorithms are not checked.
func promised(h http.Header) (*asset.Digest, error) {
	for _, name := range []string{"Content-Digest", "Digest"} {
		for member := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
			algorithm, value, ok := strings.Cut(strings.TrimSpace(member), "=")
			if !ok || !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
			if err != nil || len(raw) != len(asset.Digest{}) {
				return nil, fault.New(fault.Invalid, "%s: expected sha-256=%s of 32 bytes in base64", name, map[bool]string{true: ":…:", false: "…"}[name == "Content-Digest"])
			}
			d := asset.Digest(raw)
			return &d, nil
		}
	}
	return nil, nil
}

// originalTag is the entity tag of an image's original bytes.
func originalTag(img asset.Image) string { return fmt.Sprintf("%q", img.Source.Digest) }
