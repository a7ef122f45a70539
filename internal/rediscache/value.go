package rediscache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/format"
)

// A value is magic, the SHA-256 of the key it belongs to and of all that
// follows, the lengths of the token and of the description (uint16, big
// endian), the token, the description as JSON, and the rendition's bytes.
const (
	magic      = "SLR1"
	headerSize = len(magic) + sha256.Size + 4
)

// described is asset.Rendition as JSON; the names are part of what is stored.
type described struct {
	Variant []byte `json:"v"`
	Options string `json:"o"`
	Format  string `json:"f"`
	Width   int    `json:"w"`
	Height  int    `json:"h"`
	Pages   int    `json:"p"`
	Bytes   int64  `json:"b"`
	Digest  []byte `json:"d"`
	Created int64  `json:"c"` // Unix nanoseconds
}

var errDamaged = errors.New("it is damaged, or belongs elsewhere")

// encode makes a value, and gives its description too.
func encode(token string, meta asset.Rendition, data []byte) (value, description []byte, err error) {
	description, err = json.Marshal(described{
		meta.Variant[:], meta.Options, meta.Format.String(), meta.Width, meta.Height, meta.Pages, meta.Bytes, meta.Digest[:], meta.Created.UnixNano(),
	})
	if err != nil {
		return nil, nil, err
	}
	value = make([]byte, headerSize, headerSize+len(token)+len(description)+len(data))
	copy(value, magic)
	lengths := value[headerSize-4:]
	binary.BigEndian.PutUint16(lengths, uint16(len(token)))
	binary.BigEndian.PutUint16(lengths[2:], uint16(len(description)))
	value = append(append(append(value, token...), description...), data...)
	sum := checksum(cache.Key{Source: meta.Source, Variant: meta.Variant}, value)
	copy(value[len(magic):], sum[:])
	return value, description, nil
}

func checksum(key cache.Key, value []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(key.Source[:])
	h.Write(key.Variant[:])
	h.Write(value[len(magic)+sha256.Size:])
	return [sha256.Size]byte(h.Sum(nil))
}

// decode takes a value apart. The bytes are those of value.
func decode(key cache.Key, value []byte) (token string, meta asset.Rendition, data []byte, err error) {
	if len(value) < headerSize || string(value[:len(magic)]) != magic {
		return "", meta, nil, errDamaged
	}
	sum := checksum(key, value)
	if !bytes.Equal(sum[:], value[len(magic):len(magic)+sha256.Size]) {
		return "", meta, nil, errDamaged
	}
	lengths, rest := value[headerSize-4:headerSize], value[headerSize:]
	t, d := int(binary.BigEndian.Uint16(lengths)), int(binary.BigEndian.Uint16(lengths[2:]))
	if t+d > len(rest) {
		return "", meta, nil, errDamaged
	}
	if meta, err = describe(rest[t : t+d]); err != nil {
		return "", meta, nil, err
	}
	if data = rest[t+d:]; int64(len(data)) != meta.Bytes || meta.Variant != key.Variant {
		return "", meta, nil, errDamaged
	}
	meta.Source = key.Source
	return string(rest[:t]), meta, data[:len(data):len(data)], nil
}

// describe reads a description; the source is not in it.
func describe(text []byte) (asset.Rendition, error) {
	var d described
	if err := json.Unmarshal(text, &d); err != nil || len(d.Variant) != len(asset.VariantKey{}) || len(d.Digest) != len(asset.Digest{}) {
		return asset.Rendition{}, errDamaged
	}
	return asset.Rendition{
		Variant: asset.VariantKey(d.Variant), Options: d.Options, Format: format.Parse(d.Format), Width: d.Width, Height: d.Height, Pages: d.Pages,
		Bytes: d.Bytes, Digest: asset.Digest(d.Digest), Created: time.Unix(0, d.Created).UTC(),
	}, nil
}
