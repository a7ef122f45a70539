package scrub

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"safelight/internal/format"
)

// packet is an XMP packet with nothing in it (ISO 16684-1 §7): readers that
// would warn of a packet of mere spaces have nothing to complain about.
const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>`

// emptyPacket blanks an XMP packet. In GIF too, where the bytes double as
// lengths of blocks: all are below the 258 bytes that catch a reader at the
// packet's end (XMP part 3 §1.1.2).
func (p *planner) emptyPacket(data format.Extents) error {
	n := data.Len()
	if err := p.fill(data, format.Extent{Length: n}, ' '); err != nil {
		return err
	}
	if n < int64(len(packet)) {
		return nil
	}
	return p.overwrite(data, 0, []byte(packet))
}

// voidChunk is a PNG chunk type that nobody knows: ancillary, private, safe to
// copy (PNG, third edition, §5.4).
const voidChunk = "voId"

// retire turns a PNG chunk into one that readers skip, with zeros in it.
func (p *planner) retire(record format.Extent) error {
	if record.Length > MaxPatchBytes {
		return tooMuch()
	}
	b := make([]byte, record.Length-4)
	copy(b, voidChunk)
	body := b[:len(b)-4]
	binary.BigEndian.PutUint32(b[len(body):], crc32.ChecksumIEEE(body))
	return p.overwrite(format.Extents{record}, 4, b)
}

// checksum plans a PNG chunk's checksum (§5.5) after its patches.
func (p *planner) checksum(record format.Extent, patches []Patch) error {
	patched := NewReader(p.r, p.size, merge(patches))
	sum := crc32.NewIEEE()
	n := record.Length - 8 // type and data
	if _, err := io.Copy(sum, io.NewSectionReader(patched, record.Offset+4, n)); err != nil {
		return fmt.Errorf("reading metadata: %w", err)
	}
	return p.overwrite(format.Extents{record}, record.Length-4, binary.BigEndian.AppendUint32(nil, sum.Sum32()))
}
