package blobcopy

import (
	"encoding/hex"
	"path"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/sealblob"
)

// kind is a sort of blobs that a home store has.
type kind uint8

const (
	source kind = iota
	recompressed
	rendition
	output
)

// kinds are, by kind, what names begin with and how they are made.
var kinds = [...]struct {
	prefix string
	name   func(hexDigest string) string
}{
	source:       {blob.SourcePrefix, blob.SourceName},
	recompressed: {blob.RecompressedPrefix, blob.RecompressedName},
	rendition:    {blob.RenditionPrefix, blob.RenditionName},
	output:       {blob.OutputPrefix, blob.OutputName},
}

// entry is a name of ours, as it is stored. Millions of them are held in memory.
type entry struct {
	digest asset.Digest // in the name
	kind   kind
	sealed bool
	key    [4]byte // that of the sealing, as the name tells it
}

// parse reads a name; ok is false for one that is not ours.
func parse(k kind, stored string) (e entry, ok bool) {
	name, end := sealblob.Parts(stored)
	e.kind = k
	digest, err := asset.ParseDigest(path.Base(name))
	if err != nil {
		return e, false
	}
	e.digest = digest
	if end != "" {
		id, err := hex.DecodeString(end[strings.LastIndexByte(end, '-')+1:])
		if err != nil {
			return e, false
		}
		e.sealed, e.key = true, [4]byte(id)
	}
	return e, e.name() == stored
}

// name is that under which it is stored.
func (e entry) name() string {
	name := kinds[e.kind].name(e.digest.String())
	if e.sealed {
		name += sealblob.Suffix(e.key)
	}
	return name
}

// Prefixes are what the names of all that is copied begin with.
func Prefixes() []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.prefix)
	}
	return all
}
