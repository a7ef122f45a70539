package remote

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"safelight/internal/auth"
	"safelight/internal/fault"
)

const (
	minKey       = 16 // bytes
	minSignature = 16 // bytes of the MAC that must be there
)

// Signer makes and checks signed paths, /remote/{signature}/{encoded}?{query}.
// encoded is the URL in base64url without padding; the signature is the
// HMAC-SHA256 of encoded or, where options are signed and there is a query, of
// encoded, "?" and the query as it stands, in base64url without padding, whole
// or cut to no less than 16 bytes. It is safe for concurrent use.
type Signer struct {
	keys    [][]byte
	options bool
}

// NewSigner reads the keys of a configuration; any of them verifies.
func NewSigner(c Config) (*Signer, error) {
	s := &Signer{options: c.SignOptions}
	var errs []error
	for i, text := range c.Keys {
		key, err := readKey(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("remote.keys: key %d: %w", i+1, err))
			continue
		}
		s.keys = append(s.keys, key)
	}
	return s, errors.Join(errs...)
}

// encoding is strict, so that one URL has one spelling.
var encoding = base64.RawURLEncoding.Strict()

func readKey(text auth.Secret) ([]byte, error) {
	key, err := text.Bytes()
	if err != nil {
		return nil, err
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("it has %d bytes; use at least %d", len(key), minKey)
	}
	return key, nil
}

// Empty tells that there are no keys.
func (s *Signer) Empty() bool { return len(s.keys) == 0 }

// Sign gives the path, with its query, that shows a URL. Without keys it is
// fault.NotFound.
func (s *Signer) Sign(rawURL, query string) (string, error) {
	if s.Empty() {
		return "", notConfigured()
	}
	encoded := encoding.EncodeToString([]byte(rawURL))
	path := "/remote/" + encoding.EncodeToString(s.mac(s.keys[0], encoded, query)) + "/" + encoded
	if query != "" {
		path += "?" + query
	}
	return path, nil
}

// Verify gives the URL that a path is signed for. Without keys it is
// fault.NotFound; a signature that does not fit is fault.Denied.
func (s *Signer) Verify(signature, encoded, query string) (string, error) {
	if s.Empty() {
		return "", notConfigured()
	}
	mac, err := encoding.DecodeString(signature)
	if err != nil || len(mac) < minSignature || len(mac) > sha256.Size || strings.ContainsAny(signature, "\r\n") {
		return "", misSigned()
	}
	fits := false
	for _, key := range s.keys {
		if hmac.Equal(mac, s.mac(key, encoded, query)[:len(mac)]) {
			fits = true
		}
	}
	if !fits {
		return "", misSigned()
	}
	url, err := encoding.DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return "", fault.New(fault.Invalid, "the URL in the path is not in base64url without padding")
	}
	return string(url), nil
}

func (s *Signer) mac(key []byte, encoded, query string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(encoded))
	if s.options && query != "" {
		h.Write([]byte("?" + query))
	}
	return h.Sum(nil)
}

func notConfigured() error {
	return fault.New(fault.NotFound, "remote sources are not configured here (remote.keys, remote.hosts)")
}

func misSigned() error {
	return &fault.Error{Kind: fault.Denied, Code: "signature-refused", Message: "the signature does not fit the URL and its options"}
}
