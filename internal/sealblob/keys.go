package sealblob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"safelight/internal/auth"
)

// Config is whether and how blobs are sealed.
type Config struct {
	// Keys are 32 bytes each, in hexadecimal or base64, or file:PATH of a file that
	// has one so. The first seals; every one opens what it has sealed. Without any
	// nothing is sealed.
	Keys []auth.Secret `koanf:"keys"`
	// Home tells whether the home store is sealed; destinations have a setting of
	// their own.
	Home bool `koanf:"home"`
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config { return Config{Home: true} }

// Validate tells what is wrong with the keys.
func (c Config) Validate() error {
	_, err := c.Read()
	return err
}

// keyBytes is the size of a key.
const keyBytes = 32

// filePrefix stands before the path of a file with a key.
const filePrefix = "file:"

// Keys are those of a configuration, read.
type Keys struct{ all []*key }

type key struct {
	secret []byte
	id     [idBytes]byte
	suffix string // of names that it has sealed
}

// Read reads the keys. Errors name the key by its place, and never show it.
func (c Config) Read() (*Keys, error) {
	var keys Keys
	var errs []error
	for i, text := range c.Keys {
		k, err := readKey(text)
		if err == nil && slices.ContainsFunc(keys.all, func(other *key) bool { return other.id == k.id }) {
			err = errors.New("it is there already")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("encryption.keys: key %d: %w", i+1, err))
			continue
		}
		keys.all = append(keys.all, k)
	}
	return &keys, errors.Join(errs...)
}

func readKey(text auth.Secret) (*key, error) {
	if path, ok := strings.CutPrefix(string(text), filePrefix); ok {
		data, err := readShort(path)
		if err != nil {
			return nil, err
		}
		text = auth.Secret(strings.TrimSpace(string(data)))
	}
	secret, err := text.Bytes()
	if err != nil {
		return nil, err
	}
	if len(secret) != keyBytes {
		return nil, fmt.Errorf("it has %d bytes; expected %d, as of openssl rand -hex %d", len(secret), keyBytes, keyBytes)
	}
	k := &key{secret: secret}
	sum := sha256.Sum256(append([]byte("safelight key id\x00"), secret...))
	copy(k.id[:], sum[:])
	k.suffix = Suffix([4]byte(k.id[:4]))
	return k, nil
}

// keyFileBytes is more than a file with a key can have.
const keyFileBytes = 4 << 10

// readShort reads a file, but no more of it than a key can take.
func readShort(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keyFileBytes+1))
	if err == nil && len(data) > keyFileBytes {
		err = fmt.Errorf("%s is no file with a key: it has more than %d bytes", path, keyFileBytes)
	}
	return data, err
}

// Empty tells that there are no keys.
func (k *Keys) Empty() bool { return len(k.all) == 0 }

// Present is the id of the key that seals, as names of sealed blobs have it; ""
// without keys.
func (k *Keys) Present() string {
	if k.Empty() {
		return ""
	}
	return strings.TrimPrefix(k.all[0].suffix, suffix)
}

// suffix begins what follows the name of a sealed blob; the rest tells the key.
const suffix = ".sealed-"

// Opens tells whether one of the keys opens what is stored under a name, and names
// the one that would; "" is a blob that is not sealed.
func (k *Keys) Opens(stored string) (id string, ok bool) {
	_, end := unsealed(stored)
	known := slices.ContainsFunc(k.all, func(k *key) bool { return k.suffix == end })
	return strings.TrimPrefix(end, suffix), end == "" || known
}

// unsealed parts a stored name into the blob's name and what follows it; "" is
// a blob that is not sealed.
func unsealed(stored string) (name, end string) {
	i := strings.LastIndex(stored, suffix)
	if i < 0 || len(stored)-i != len(suffix)+8 {
		return stored, ""
	}
	if _, err := hex.DecodeString(stored[i+len(suffix):]); err != nil {
		return stored, ""
	}
	return stored[:i], stored[i:]
}
