package ossblob_test

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the service's checksum
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc64"
	"io"
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

const (
	bucket    = "bucket"
	region    = "cn-hangzhou"
	accessKey = "test-id"
	secretKey = "test-secret-that-nobody-else-has"
	token     = "test-session-token"
)

// service is as much of OSS as a blob store needs, over a map. It refuses
// whatever is not signed as the specification of signatures, version 4, says.
type service struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	objects  map[string]stored
	uploads  map[string]*upload
	next     int
	requests int
	refused  int
	before   func(w http.ResponseWriter, r *http.Request) bool // tells that it has answered
}

type stored struct {
	data     []byte
	header   http.Header
	modified time.Time
}

type upload struct {
	key    string
	header http.Header
	parts  map[int][]byte
}

func newService(t testing.TB) *service {
	s := &service{t: t, objects: map[string]stored{}, uploads: map[string]*upload{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	before := s.before
	s.mu.Unlock()
	if why := unsigned(r); why != "" {
		s.mu.Lock()
		s.refused++
		s.mu.Unlock()
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", why)
		return
	}
	if before != nil && before(w, r) {
		return
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // as the service does not keep what comes short
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case name != bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket", name)
	case key == "" && r.Method == http.MethodGet && q.Get("list-type") == "2":
		s.list(w, q)
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.next++
		id := fmt.Sprint("upload", s.next)
		s.uploads[id] = &upload{key, r.Header.Clone(), map[int][]byte{}}
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
	case q.Has("uploadId"):
		s.part(w, r, q, body)
	case r.Method == http.MethodPut:
		if sum := md5.Sum(body); r.Header.Get("Content-MD5") != "" && r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]) {
			refuse(w, http.StatusBadRequest, "InvalidDigest", "other bytes came")
			return
		}
		s.store(w, key, body, r.Header)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.read(w, r, key)
	}
}

func (s *service) store(w http.ResponseWriter, key string, data []byte, header http.Header) {
	s.objects[key] = stored{data, header.Clone(), time.Now()}
	w.Header().Set("ETag", tag(data))
	w.Header().Set("X-Oss-Hash-Crc64ecma", sum64(data))
}

func (s *service) part(w http.ResponseWriter, r *http.Request, q url.Values, body []byte) {
	u := s.uploads[q.Get("uploadId")]
	switch {
	case u == nil:
		refuse(w, http.StatusNotFound, "NoSuchUpload", "")
	case r.Method == http.MethodDelete:
		delete(s.uploads, q.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil {
			refuse(w, http.StatusBadRequest, "InvalidArgument", "partNumber")
			return
		}
		u.parts[n] = body
		w.Header().Set("ETag", tag(body))
		w.Header().Set("X-Oss-Hash-Crc64ecma", sum64(body))
	default:
		var wanted struct {
			Part []struct {
				PartNumber int
				ETag       string
			}
		}
		if err := xml.Unmarshal(body, &wanted); err != nil {
			refuse(w, http.StatusBadRequest, "MalformedXML", err.Error())
			return
		}
		var whole []byte
		for _, p := range wanted.Part {
			if tag(u.parts[p.PartNumber]) != p.ETag {
				refuse(w, http.StatusBadRequest, "InvalidPart", "")
				return
			}
			whole = append(whole, u.parts[p.PartNumber]...)
		}
		delete(s.uploads, q.Get("uploadId"))
		s.store(w, u.key, whole, u.header)
		answer(w, struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			Key     string
		}{Key: u.key})
	}
}

func (s *service) read(w http.ResponseWriter, r *http.Request, key string) {
	o, ok := s.objects[key]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	if want := r.Header.Get("If-Match"); want != "" && want != tag(o.data) {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "")
		return
	}
	for name, values := range o.header {
		if strings.HasPrefix(name, "X-Oss-Meta-") || name == "Content-Type" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("ETag", tag(o.data))
	w.Header().Set("X-Oss-Hash-Crc64ecma", sum64(o.data))
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data))
}

func (s *service) list(w http.ResponseWriter, q url.Values) {
	type content struct {
		Key, ETag, LastModified string
		Size                    int
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	limit, err := strconv.Atoi(cmp.Or(q.Get("max-keys"), "100"))
	if err != nil || limit > 1000 {
		refuse(w, http.StatusBadRequest, "InvalidArgument", "max-keys")
		return
	}
	limit = min(limit, 3) // so that there are pages
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	out.EncodingType = q.Get("encoding-type")
	for _, key := range keys[:min(limit, len(keys))] {
		o := s.objects[key]
		name := key
		if out.EncodingType == "url" {
			name = url.QueryEscape(key)
		}
		out.Contents = append(out.Contents, content{name, tag(o.data), o.modified.UTC().Format("2006-01-02T15:04:05.000Z"), len(o.data)})
	}
	if len(keys) > limit {
		out.IsTruncated, out.NextContinuationToken = true, keys[limit-1]
		if out.EncodingType == "url" {
			out.NextContinuationToken = url.QueryEscape(out.NextContinuationToken)
		}
	}
	answer(w, out)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	type problem struct {
		XMLName                  xml.Name `xml:"Error"`
		Code, Message, RequestId string
	}
	body, _ := xml.Marshal(problem{Code: code, Message: message, RequestId: "1"})
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Oss-Err", base64.StdEncoding.EncodeToString(body)) // for answers without a body
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func tag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"`
}

func sum64(data []byte) string {
	return strconv.FormatUint(crc64.Checksum(data, crc64.MakeTable(crc64.ECMA)), 10)
}

// unsigned tells what is wrong with a request's signature, which is computed here
// from the specification: Alibaba Cloud, "Include a V4 signature in the
// Authorization header".
func unsigned(r *http.Request) string {
	kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if kind != "OSS4-HMAC-SHA256" {
		return "it is not signed with version 4"
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	stamp := r.Header.Get("X-Oss-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return "the time is " + stamp
	}
	scope := stamp[:8] + "/" + region + "/oss/aliyun_v4_request"
	if fields["Credential"] != accessKey+"/"+scope || r.Header.Get("X-Oss-Security-Token") != token {
		return "the credential is " + fields["Credential"]
	}
	if r.Header.Get("X-Oss-Content-Sha256") != "UNSIGNED-PAYLOAD" {
		return "the payload's digest is missing"
	}
	additional := strings.FieldsFunc(fields["AdditionalHeaders"], func(c rune) bool { return c == ';' })
	for _, name := range []string{"Range", "If-Match"} { // as we promise
		if r.Header.Get(name) != "" && !slices.Contains(additional, strings.ToLower(name)) {
			return name + " is not signed"
		}
	}
	hashed := sha256.Sum256([]byte(canonical(r, additional)))
	text := strings.Join([]string{"OSS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(hashed[:])}, "\n")
	key := []byte("aliyun_v4" + secretKey)
	for _, step := range []string{stamp[:8], region, "oss", "aliyun_v4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(step))
		key = mac.Sum(nil)
	}
	if !hmac.Equal([]byte(fields["Signature"]), []byte(hex.EncodeToString(key))) {
		return "the signature is another than that of\n" + canonical(r, additional)
	}
	return ""
}

// canonical is the canonical request.
func canonical(r *http.Request, additional []string) string {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err.Error()
	}
	var query []string
	for name, value := range values {
		pair := escape(name)
		if value[0] != "" {
			pair += "=" + escape(value[0])
		}
		query = append(query, pair)
	}
	slices.Sort(query)
	var headers []string
	for name, value := range r.Header {
		low := strings.ToLower(name)
		if strings.HasPrefix(low, "x-oss-") || low == "content-type" || low == "content-md5" || slices.Contains(additional, low) {
			headers = append(headers, low+":"+strings.TrimSpace(strings.Join(value, ","))+"\n")
		}
	}
	slices.Sort(headers)
	return strings.Join([]string{
		r.Method, strings.ReplaceAll(escape(r.URL.Path), "%2F", "/"), strings.Join(query, "&"), strings.Join(headers, ""),
		strings.Join(additional, ";"), "UNSIGNED-PAYLOAD",
	}, "\n")
}

// escape encodes all but the unreserved characters of RFC 3986.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
