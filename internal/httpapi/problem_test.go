package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"safelight/internal/fault"
)

func TestEveryKindHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		status, ok := statusOf[k]
		if !ok {
			t.Errorf("the kind %s has no status", k)
		}
		p := problemOf(fault.New(k, "what happened"), "id")
		if p.Status != status || p.Type != "urn:safelight:problem:"+k.String() || p.Title == "" || p.RequestID != "id" {
			t.Errorf("%s became %+v", k, p)
		}
	}
}

func TestProblemsTellNothingInternal(t *testing.T) {
	secret := errors.New("/srv/data/catalog.db: disk I/O error")
	for _, err := range []error{secret, fault.Wrap(fault.Internal, secret, "the catalog at /srv is broken"), fault.Wrap(fault.Unavailable, secret, "try again"),
		fmt.Errorf("outer: %w", fault.Wrap(fault.OutOfSpace, secret, "no room"))} {
		if p := problemOf(err, ""); strings.Contains(p.Detail, "/srv") {
			t.Errorf("%v is told to clients as %q", err, p.Detail)
		}
	}
}

func TestLimitsAreNamed(t *testing.T) {
	p := problemOf(fault.Limit(fault.TooLarge, "ingest.max_file_bytes", 10, 12, "too large"), "")
	if p.Status != http.StatusRequestEntityTooLarge || p.Limit != "ingest.max_file_bytes" || p.Max != 10 || p.Got != 12 {
		t.Errorf("the problem is %+v", p)
	}
}

func TestDirectLocal(t *testing.T) {
	cases := []struct {
		name, remote, host string
		header             http.Header
		want               bool
	}{
		{"direct", "127.0.0.1:5", "127.0.0.1:8080", nil, true},
		{"localhost", "127.0.0.1:5", "localhost:8080", nil, true},
		{"IPv6", "[::1]:5", "[::1]:8080", nil, true},
		{"from elsewhere", "192.0.2.1:5", "127.0.0.1:8080", nil, false},
		{"a rebound name", "127.0.0.1:5", "attacker.example:8080", nil, false},
		{"a name that looks local", "127.0.0.1:5", "127.0.0.1.attacker.example", nil, false},
		{"no host", "127.0.0.1:5", "", nil, false},
		{"a proxy", "127.0.0.1:5", "127.0.0.1", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false},
		{"an empty proxy header", "127.0.0.1:5", "127.0.0.1", http.Header{"Forwarded": {""}}, false},
		{"another proxy", "127.0.0.1:5", "127.0.0.1", http.Header{"X-Cluster-Client-Ip": {"192.0.2.1"}}, false},
		{"two origins", "127.0.0.1:5", "127.0.0.1", http.Header{"Origin": {"http://127.0.0.1", "http://evil.example"}}, false},
		{"an origin with a user", "127.0.0.1:5", "localhost", http.Header{"Origin": {"http://evil.example@localhost"}}, false},
		{"own page", "127.0.0.1:5", "127.0.0.1:8080", http.Header{"Origin": {"http://127.0.0.1:8080"}}, true},
		{"another port's page", "127.0.0.1:5", "127.0.0.1:8080", http.Header{"Origin": {"http://127.0.0.1:3000"}}, false},
		{"another site's form", "127.0.0.1:5", "127.0.0.1:8080", http.Header{"Origin": {"null"}}, false},
	}
	for _, c := range cases {
		r := &http.Request{Method: http.MethodPost, ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: c.remote, Host: c.host, Header: c.header}
		if r.Header == nil {
			r.Header = http.Header{}
		}
		if got := directLocal(r); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestPromisedDigest(t *testing.T) {
	const empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	good := []http.Header{
		{"Content-Digest": {"sha-256=:" + empty + ":"}},
		{"Content-Digest": {"sha-512=:AA==:, sha-256=:" + empty + ":"}},
		{"Digest": {"SHA-256=" + empty}},
	}
	for _, h := range good {
		if d, err := promised(h); err != nil || d == nil || !strings.HasPrefix(d.String(), "e3b0c442") {
			t.Errorf("%v gives %v, %v", h, d, err)
		}
	}
	if d, err := promised(http.Header{"Digest": {"md5=AA=="}}); d != nil || err != nil {
		t.Errorf("another algorithm gives %v, %v", d, err)
	}
	if _, err := promised(http.Header{"Content-Digest": {"sha-256=:short:"}}); fault.Of(err) != fault.Invalid {
		t.Errorf("a broken digest gives %v", err)
	}
}

func TestETagMatches(t *testing.T) {
	for header, want := range map[string]bool{`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `*`: true, `"b"`: false, ``: false, `a`: false} {
		if got := etagMatches(header, `"a"`); got != want {
			t.Errorf("If-None-Match: %s gives %v", header, got)
		}
	}
}
