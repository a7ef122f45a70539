package rediscatalog

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
)

// An answer is magic, the first bytes of a SHA-256 over its key and all that
// follows, and the image as JSON.
const (
	magic    = "A1"
	sumBytes = 8
)

// image is asset.Image as JSON.
type image struct {
	ID        []byte          `json:"i"`
	Owner     string          `json:"w"`
	Key       string          `json:"k,omitempty"`
	Name      string          `json:"n,omitempty"`
	Category  string          `json:"c,omitempty"`
	Tags      []string        `json:"t,omitempty"`
	Created   int64           `json:"at"` // Unix milliseconds
	Digest    []byte          `json:"d"`
	Bytes     int64           `json:"b"`
	Header    json.RawMessage `json:"h"`
	Verified  bool            `json:"v,omitempty"`
	ThumbHash []byte          `json:"th,omitempty"`
	BlurHash  string          `json:"bh,omitempty"`
	PHash     uint64          `json:"ph,omitempty"`
}

var (
	errDamaged = errors.New("it is damaged, or belongs elsewhere")
	errLease   = errors.New("somebody is asking the database")
)

func encode(key string, img asset.Image) (string, error) {
	header, err := stored.Header(img.Source.Header)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(image{
		img.ID[:], img.Owner, img.Key, img.Name, img.Category, img.Tags, img.Created.UnixMilli(), img.Source.Digest[:], img.Source.Bytes,
		json.RawMessage(header), img.Looks.Verified, img.Looks.ThumbHash, img.Looks.BlurHash, img.Looks.PHash,
	})
	if err != nil {
		return "", err
	}
	return magic + checksum(key, string(text)) + string(text), nil
}

func checksum(key, text string) string {
	sum := sha256.Sum256([]byte(key + "\x00" + text))
	return string(sum[:sumBytes])
}

// decode reads what encode has made. A lease is errLease.
func decode(key, value string) (asset.Image, error) {
	if strings.HasPrefix(value, leaseMark) {
		return asset.Image{}, errLease
	}
	if len(value) < len(magic)+sumBytes || !strings.HasPrefix(value, magic) {
		return asset.Image{}, errDamaged
	}
	sum, text := value[len(magic):len(magic)+sumBytes], value[len(magic)+sumBytes:]
	var i image
	if checksum(key, text) != sum || json.Unmarshal([]byte(text), &i) != nil || len(i.ID) != len(asset.ID{}) || len(i.Digest) != len(asset.Digest{}) {
		return asset.Image{}, errDamaged
	}
	header, err := stored.ParseHeader(i.Header)
	if err != nil {
		return asset.Image{}, err
	}
	return stored.Image(asset.Image{
		ID: asset.ID(i.ID), Owner: i.Owner, Key: i.Key, Name: i.Name, Category: i.Category, Tags: i.Tags, Created: time.UnixMilli(i.Created).UTC(),
		Source: asset.Source{Digest: asset.Digest(i.Digest), Bytes: i.Bytes, Header: header},
		Looks:  asset.Looks{Verified: i.Verified, ThumbHash: i.ThumbHash, BlurHash: i.BlurHash, PHash: i.PHash},
	}), nil
}
