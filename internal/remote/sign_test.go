package remote_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/remote"
)

const (
	keyA = "000102030405060708090a0b0c0d0e0f"
	keyB = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
	at   = "https://example.com/a b.jpg?x=1"
)

func signer(t *testing.T, c remote.Config) *remote.Signer {
	t.Helper()
	s, err := remote.NewSigner(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func options(keys ...auth.Secret) remote.Config {
	c := remote.DefaultConfig()
	c.Keys = keys
	return c
}

// split takes a signed path apart.
func split(t *testing.T, path string) (signature, encoded, query string) {
	t.Helper()
	path, query, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	if len(parts) != 4 || parts[1] != "remote" {
		t.Fatalf("%s", path)
	}
	return parts[2], parts[3], query
}

// TestSignature pins the contract with sites that sign by themselves.
func TestSignature(t *testing.T) {
	t.Parallel()
	got, err := signer(t, options(keyA)).Sign(at, "w=500&fit=cover")
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.RawURLEncoding.EncodeToString([]byte(at))
	mac := hmac.New(sha256.New, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	mac.Write([]byte(encoded + "?w=500&fit=cover"))
	if want := "/remote/" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) + "/" + encoded + "?w=500&fit=cover"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, key := range []auth.Secret{keyA, keyB, "ABCDEFABCDEFABCDEFABCDEFABCDEFAB", "-_-_-_-_-_-_-_-_-_-_-_", "+/+/+/+/+/+/+/+/+/+/+w=="} {
		s := signer(t, options(key))
		for _, query := range []string{"", "w=500", "w=500&fit=cover&v=a%20b"} {
			path, err := s.Sign(at, query)
			if err != nil {
				t.Fatal(err)
			}
			signature, encoded, q := split(t, path)
			if got, err := s.Verify(signature, encoded, q); err != nil || got != at {
				t.Errorf("%s: %q, %v", path, got, err)
			}
			mac, _ := base64.RawURLEncoding.DecodeString(signature)
			for n := range len(mac) + 1 {
				_, err := s.Verify(base64.RawURLEncoding.EncodeToString(mac[:n]), encoded, q)
				if (err == nil) != (n >= 16) {
					t.Errorf("a signature of %d bytes: %v", n, err)
				}
			}
		}
	}
}

func TestTampering(t *testing.T) {
	t.Parallel()
	s := signer(t, options(keyA))
	path, _ := s.Sign(at, "w=500")
	signature, encoded, query := split(t, path)
	refused := func(what, signature, encoded, query string) {
		t.Helper()
		if got, err := s.Verify(signature, encoded, query); fault.Of(err) != fault.Denied || got != "" {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	flip := func(text string, i int) string {
		to := byte('A')
		if text[i] == 'A' {
			to = 'B'
		}
		return text[:i] + string(to) + text[i+1:]
	}
	for i := range signature {
		refused("another signature", flip(signature, i), encoded, query)
	}
	for i := range encoded {
		refused("another URL", signature, flip(encoded, i), query)
	}
	for i := range query {
		refused("other options", signature, encoded, flip(query, i))
	}
	refused("no options", signature, encoded, "")
	refused("more options", signature, encoded, query+"&h=1")
	if got, err := s.Verify(signature, encoded+"?"+query, ""); fault.Of(err) != fault.Invalid || got != "" { // what is signed, moved across the border
		t.Errorf("options in the URL: %q, %v", got, err)
	}
	refused("a longer URL", signature, encoded+"AAAA", query)
	refused("padding", signature+"=", encoded, query)
	refused("a line break", signature[:10]+"\n"+signature[10:], encoded, query)
	refused("trailing bits", signature[:len(signature)-1]+string(signature[len(signature)-1]+1), encoded, query)
	refused("more bytes", signature+"AAAA", encoded, query)
	refused("nothing", "", encoded, query)
	bare, _ := s.Sign(at, "")
	bareSignature, _, _ := split(t, bare)
	refused("options for a URL signed without", bareSignature, encoded, query)
}

func TestOptionsUnsigned(t *testing.T) {
	t.Parallel()
	c := options(keyA)
	c.SignOptions = false
	s := signer(t, c)
	path, _ := s.Sign(at, "w=500")
	signature, encoded, _ := split(t, path)
	for _, query := range []string{"", "w=500", "w=1&h=2"} {
		if got, err := s.Verify(signature, encoded, query); err != nil || got != at {
			t.Errorf("%q: %q, %v", query, got, err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, fresh := signer(t, options(keyA)), signer(t, options(keyB, keyA))
	path, _ := old.Sign(at, "w=1")
	signature, encoded, query := split(t, path)
	if _, err := fresh.Verify(signature, encoded, query); err != nil {
		t.Errorf("signed with the old key: %v", err)
	}
	path, _ = fresh.Sign(at, "w=1")
	signature, encoded, query = split(t, path)
	if _, err := fresh.Verify(signature, encoded, query); err != nil {
		t.Errorf("signed with the new key: %v", err)
	}
	if _, err := old.Verify(signature, encoded, query); fault.Of(err) != fault.Denied {
		t.Errorf("with a key that is not known yet: %v", err)
	}
}

func TestWithoutKeys(t *testing.T) {
	t.Parallel()
	s := signer(t, options())
	if _, err := s.Sign(at, ""); fault.Of(err) != fault.NotFound {
		t.Error(err)
	}
	empty := hmac.New(sha256.New, nil)
	if _, err := s.Verify(base64.RawURLEncoding.EncodeToString(empty.Sum(nil)), "", ""); fault.Of(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, key := range []auth.Secret{"", "short", "0001020304050607", "not base64 at all, not base64 at all", "000102030405060708090a0b0c0d0e"} {
		err := options(keyA, key).Validate()
		if err == nil || !strings.Contains(err.Error(), "remote.keys: key 2") || key != "" && strings.Contains(err.Error(), string(key)) {
			t.Errorf("%q: %v", string(key), err)
		}
	}
	c := options(keyA)
	c.TTL = -1
	if c.Validate() == nil {
		t.Error("a negative ttl is accepted")
	}
	if err := remote.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
