//go:build clouds

package cdkblob_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the services' checksum
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// kept is an object of a server in this process. Such a server is written from
// the service's documentation and stands in for one that can't be had here: it
// shows what our requests say, not what the service makes of them.
type kept struct {
	data       []byte
	mediaType  string
	sha256     string
	generation int64
	modified   time.Time
}

type fake struct {
	*httptest.Server
	mu       sync.Mutex
	next     int64
	objects  map[string]kept
	pending  map[string]kept              // uploads by id
	blocks   map[string]map[string][]byte // of Azure, by object and id
	unproven int                          // uploads without a checksum, requests without credentials
	refusing func(w http.ResponseWriter) bool
}

func newFake(t testing.TB, serve func(*fake, http.ResponseWriter, *http.Request)) *fake {
	f := &fake{objects: map[string]kept{}, pending: map[string]kept{}, blocks: map[string]map[string][]byte{}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder() // whoever reads slowly holds up nobody
		f.serve(answer, r, serve)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, serve func(*fake, http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusing == nil || r.URL.Path == "/token" || !f.refusing(w) {
		serve(f, w, r)
	}
}

func (f *fake) refuse(refusing func(http.ResponseWriter) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = refusing
}

func (f *fake) keep(name string, o kept) kept {
	f.next++
	o.generation, o.modified = f.next, time.Now()
	f.objects[name] = o
	return o
}

// page lists three names at most, after a marker.
func (f *fake) page(prefix, after string) (names []string, next string) {
	for name := range f.objects {
		if strings.HasPrefix(name, prefix) && name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 3 {
		return names[:3], names[2]
	}
	return names, ""
}

// span writes an object, or the range of it that is asked for.
func span(w http.ResponseWriter, o kept, asked string) {
	from, to := 0, len(o.data)-1
	if asked != "" && len(o.data) > 0 {
		first, last, _ := strings.Cut(strings.TrimPrefix(asked, "bytes="), "-")
		from, _ = strconv.Atoi(first)
		if n, err := strconv.Atoi(last); err == nil {
			to = min(n, to)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(o.data)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(to+1-from))
	w.Header().Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", o.mediaType)
	if asked != "" && len(o.data) > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(o.data[from : to+1])
}

const (
	azureAccount = "account"
	azureKey     = "YS1rZXktdGhhdC1pcy11c2VkLWluLXRlc3RzLW9ubHk="
	googleToken  = "a-token-of-google"
)

// serveAzure speaks the REST interface of Azure's blobs.
func serveAzure(f *fake, w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey "+azureAccount+":") {
		f.unproven++
	}
	fail := func(status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
	}
	place, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"+azureAccount+"/"), "/")
	q := r.URL.Query()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	o, ok := f.objects[name]
	tag := fmt.Sprintf(`"0x%d"`, o.generation)
	switch {
	case place != "bucket":
		fail(http.StatusNotFound, "ContainerNotFound")
	case q.Get("comp") == "list":
		azureList(f, w, q)
	case r.Method == http.MethodPut:
		azurePut(f, w, r, name, body)
	case !ok:
		fail(http.StatusNotFound, "BlobNotFound")
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != tag:
		fail(http.StatusPreconditionFailed, "ConditionNotMet")
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("ETag", tag)
		w.Header().Set("X-Ms-Meta-Sha256", o.sha256)
		w.Header().Set("X-Ms-Creation-Time", o.modified.UTC().Format(http.TimeFormat))
		span(w, o, r.Header.Get("X-Ms-Range"))
	}
}

func azurePut(f *fake, w http.ResponseWriter, r *http.Request, name string, body []byte) {
	if sum := md5.Sum(body); len(body) > 0 && r.URL.Query().Get("comp") != "blocklist" && r.Header.Get("X-Ms-Content-Crc64") == "" && r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) {
		f.unproven++
	}
	o := kept{data: body, mediaType: r.Header.Get("X-Ms-Blob-Content-Type"), sha256: r.Header.Get("X-Ms-Meta-Sha256")}
	switch r.URL.Query().Get("comp") {
	case "block":
		if f.blocks[name] == nil {
			f.blocks[name] = map[string][]byte{}
		}
		f.blocks[name][r.URL.Query().Get("blockid")] = body
		w.WriteHeader(http.StatusCreated)
		return
	case "blocklist":
		var list struct{ Latest []string }
		if err := xml.Unmarshal(body, &list); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		o.data = nil
		for _, id := range list.Latest {
			o.data = append(o.data, f.blocks[name][id]...)
		}
	}
	o = f.keep(name, o)
	w.Header().Set("ETag", fmt.Sprintf(`"0x%d"`, o.generation))
	w.Header().Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusCreated)
}

func azureList(f *fake, w http.ResponseWriter, q url.Values) {
	type properties struct {
		LastModified  string `xml:"Last-Modified"`
		ContentLength int    `xml:"Content-Length"`
		Etag          string
		CreationTime  string `xml:"Creation-Time"`
	}
	type item struct {
		Name       string
		Properties properties
	}
	var out struct {
		XMLName    xml.Name `xml:"EnumerationResults"`
		Blobs      []item   `xml:"Blobs>Blob"`
		NextMarker string
	}
	var names []string
	names, out.NextMarker = f.page(q.Get("prefix"), q.Get("marker"))
	for _, name := range names {
		o := f.objects[name]
		out.Blobs = append(out.Blobs, item{name, properties{o.modified.UTC().Format(http.TimeFormat), len(o.data), "x", o.modified.UTC().Format(http.TimeFormat)}})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out)
}

// serveGoogle speaks the JSON interface of Google Cloud Storage, and the XML one
// for reading.
func serveGoogle(f *fake, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, googleToken)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+googleToken {
		f.unproven++
	}
	const objects, uploads = "/storage/v1/b/bucket/o", "/upload/storage/v1/b/bucket/o"
	q := r.URL.Query()
	name, isObject := strings.CutPrefix(r.URL.Path, objects+"/")
	o, ok := f.objects[name]
	wanted := q.Get("ifGenerationMatch")
	switch {
	case strings.HasPrefix(r.URL.Path, uploads):
		googlePut(f, w, r, q)
	case r.URL.Path == objects:
		googleList(f, w, q)
	case !isObject:
		googleRead(f, w, r)
	case !ok:
		googleFail(w, http.StatusNotFound, "notFound")
	case wanted != "" && wanted != strconv.FormatInt(o.generation, 10):
		googleFail(w, http.StatusPreconditionFailed, "conditionNotMet")
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, resource(name, o))
	}
}

func googleFail(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"reason":%q}]}}`, status, reason, reason)
}

func resource(name string, o kept) map[string]any {
	sum := md5.Sum(o.data)
	return map[string]any{
		"kind": "storage#object", "name": name, "bucket": "bucket", "size": strconv.Itoa(len(o.data)), "generation": strconv.FormatInt(o.generation, 10),
		"updated": o.modified.UTC().Format(time.RFC3339Nano), "contentType": o.mediaType, "md5Hash": base64.StdEncoding.EncodeToString(sum[:]),
		"metadata": map[string]string{"sha256": o.sha256},
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func googleRead(f *fake, w http.ResponseWriter, r *http.Request) {
	place, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	o, ok := f.objects[name]
	wanted := r.Header.Get("X-Goog-If-Generation-Match")
	switch {
	case place != "bucket" || !ok:
		w.WriteHeader(http.StatusNotFound)
	case wanted != "" && wanted != strconv.FormatInt(o.generation, 10):
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		sum := make([]byte, 0, 4)
		sum = append(sum, be(crc32.Checksum(o.data, crc32.MakeTable(crc32.Castagnoli)))...)
		w.Header().Set("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(sum))
		w.Header().Set("X-Goog-Generation", strconv.FormatInt(o.generation, 10))
		span(w, o, r.Header.Get("Range"))
	}
}

func be(v uint32) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }

type googleObject struct {
	Name, ContentType, Md5Hash string
	Metadata                   map[string]string
}

func googlePut(f *fake, w http.ResponseWriter, r *http.Request, q url.Values) {
	finish := func(name string, o kept, sum string) {
		if whole := md5.Sum(o.data); sum != "" && sum != base64.StdEncoding.EncodeToString(whole[:]) {
			googleFail(w, http.StatusBadRequest, "invalid")
			return
		}
		if sum == "" {
			f.unproven++
		}
		writeJSON(w, resource(name, f.keep(name, o)))
	}
	if q.Get("uploadType") == "multipart" {
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		parts := multipart.NewReader(r.Body, params["boundary"])
		var meta googleObject
		first, err := parts.NextPart()
		if err == nil {
			err = json.NewDecoder(first).Decode(&meta)
		}
		if err != nil {
			googleFail(w, http.StatusBadRequest, "parseError")
			return
		}
		second, err := parts.NextPart()
		if err != nil {
			googleFail(w, http.StatusBadRequest, "parseError")
			return
		}
		data, err := io.ReadAll(second)
		if err != nil {
			return
		}
		finish(meta.Name, kept{data: data, mediaType: meta.ContentType, sha256: meta.Metadata["sha256"]}, meta.Md5Hash)
		return
	}
	if id := q.Get("upload_id"); id != "" { // a chunk
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		o := f.pending[id]
		o.data = append(o.data, data...)
		f.pending[id] = o
		if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") {
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(o.data)-1))
			w.Header().Set("X-Http-Status-Code-Override", "308") // with 200, as the client asks for
			return
		}
		delete(f.pending, id)
		name, sum, _ := strings.Cut(id, "\x00")
		finish(name, o, sum)
		return
	}
	var meta googleObject
	if err := json.NewDecoder(r.Body).Decode(&meta); err != nil {
		googleFail(w, http.StatusBadRequest, "parseError")
		return
	}
	id := meta.Name + "\x00" + meta.Md5Hash
	f.pending[id] = kept{mediaType: meta.ContentType, sha256: meta.Metadata["sha256"]}
	w.Header().Set("Location", f.URL+r.URL.Path+"?uploadType=resumable&upload_id="+url.QueryEscape(id))
}

func googleList(f *fake, w http.ResponseWriter, q url.Values) {
	names, next := f.page(q.Get("prefix"), q.Get("pageToken"))
	items := make([]any, len(names))
	for i, name := range names {
		items[i] = resource(name, f.objects[name])
	}
	writeJSON(w, map[string]any{"kind": "storage#objects", "items": items, "nextPageToken": next})
}
