// Package auth is the port for who may do what: a bearer token names a
// principal, a principal has an owner and scopes.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

// Scope is a kind of things that a key allows.
type Scope string

// The scopes. Admin includes the others.
const (
	Upload Scope = "upload" // store, replace and delete images
	Read   Scope = "read"   // metadata, listings, originals and renditions
	Admin  Scope = "admin"  // everything, metrics too
	Worker Scope = "worker" // claim tasks and report on them
)

// AnyOwner is the owner of keys for workers that work on tasks of every owner.
const AnyOwner = "*"

// Principal is who a request acts for.
type Principal struct {
	Name   string // of the key, for logs
	Owner  string
	Scopes []Scope
}

// May tells whether the principal has a scope.
func (p Principal) May(s Scope) bool {
	return slices.Contains(p.Scopes, s) || slices.Contains(p.Scopes, Admin)
}

// Authenticator knows keys. Implementations are safe for concurrent use.
type Authenticator interface {
	// Authenticate finds the principal of a token; an unknown one is
	// fault.Unauthenticated.
	Authenticate(ctx context.Context, token string) (Principal, error)
	// Empty tells that there are no keys at all, so that only direct local
	// clients can be let in.
	Empty() bool
}

// Secret is text that must not be shown: whatever prints, logs or encodes it
// writes *** (fmt in an unexported field excepted, which no method can hide).
type Secret string

const hidden = "***"

func (Secret) String() string { return hidden }

// Format hides the text from every verb, those that do not ask String too.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides the text from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the text from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Bytes are what the secret says in hexadecimal, or else in base64 of either
// alphabet. Errors do not show it.
func (s Secret) Bytes() ([]byte, error) {
	if b, err := hex.DecodeString(string(s)); err == nil {
		return b, nil
	}
	plain := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(string(s), "="))
	b, err := base64.RawURLEncoding.DecodeString(plain)
	if err != nil {
		return nil, errors.New("expected hexadecimal or base64")
	}
	return b, nil
}

// Key is a static key of the configuration.
type Key struct {
	Name   string   `koanf:"name"`
	Token  Secret   `koanf:"token"`
	Owner  string   `koanf:"owner"`
	Scopes []string `koanf:"scopes"`
}

// minToken is the shortest token that is accepted, in bytes.
const minToken = 16

// Static is an Authenticator over keys of the configuration. Tokens are
// compared by their digests, so that timing tells nothing of them.
type Static struct {
	keys map[[sha256.Size]byte]Principal
}

// NewStatic makes an authenticator; it refuses short or repeated tokens,
// unknown scopes and keys without any, and AnyOwner with scopes but Worker.
func NewStatic(keys []Key) (*Static, error) {
	s := &Static{keys: make(map[[sha256.Size]byte]Principal, len(keys))}
	var errs []error
	for i, k := range keys {
		name := k.Name
		if name == "" {
			name = fmt.Sprintf("key %d", i+1)
		}
		if len(k.Token) < minToken {
			errs = append(errs, fmt.Errorf("auth.keys: %s: the token has %d characters; use at least %d", name, len(k.Token), minToken))
			continue
		}
		p := Principal{Name: name, Owner: k.Owner}
		if p.Owner == "" {
			p.Owner = asset.DefaultOwner
		}
		for _, scope := range k.Scopes {
			if !slices.Contains([]Scope{Upload, Read, Admin, Worker}, Scope(scope)) {
				errs = append(errs, fmt.Errorf("auth.keys: %s: expected the scopes upload, read, admin or worker but received %q", name, scope))
			}
			p.Scopes = append(p.Scopes, Scope(scope))
		}
		if p.Owner == AnyOwner && !slices.Equal(p.Scopes, []Scope{Worker}) {
			errs = append(errs, fmt.Errorf("auth.keys: %s: the owner %q is for workers, whose only scope is worker", name, AnyOwner))
		}
		if len(p.Scopes) == 0 {
			errs = append(errs, fmt.Errorf("auth.keys: %s has no scopes", name))
		}
		digest := sha256.Sum256([]byte(k.Token))
		if _, taken := s.keys[digest]; taken {
			errs = append(errs, fmt.Errorf("auth.keys: %s has the token of another key", name))
		}
		s.keys[digest] = p
	}
	return s, errors.Join(errs...)
}

// Authenticate finds the principal of a token.
func (s *Static) Authenticate(_ context.Context, token string) (Principal, error) {
	p, ok := s.keys[sha256.Sum256([]byte(token))]
	if !ok {
		return Principal{}, fault.New(fault.Unauthenticated, "the key is not known")
	}
	return p, nil
}

// Empty tells that no keys are configured.
func (s *Static) Empty() bool { return len(s.keys) == 0 }
