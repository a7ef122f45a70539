package optimize

import (
	"encoding/binary"
	"io"

	"safelight/internal/format"
)

// moves tells files that move though decoders here read their first picture
// only: animated PNG, which has a chunk acTL before its first IDAT (PNG, third
// edition, §11.3.2.1), and sequences of AVIF and HEIC, by their major brand.
func moves(r io.ReaderAt, size int64, f format.Format) bool {
	switch f {
	case format.PNG:
		return animatedPNG(r, size)
	case format.AVIF, format.HEIC:
		var head [12]byte
		if _, err := r.ReadAt(head[:], 0); err != nil {
			return false
		}
		switch string(head[8:]) {
		case "avis", "hevc", "hevx", "msf1":
			return true
		}
	}
	return false
}

// mostChunks is how many are looked at: real files have few before the picture.
const mostChunks = 4096

func animatedPNG(r io.ReaderAt, size int64) bool {
	at := int64(8) // behind the signature
	for range mostChunks {
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return false
		}
		switch string(head[4:]) {
		case "acTL":
			return true
		case "IDAT", "IEND":
			return false
		}
		at += int64(binary.BigEndian.Uint32(head[:])) + 12
		if at >= size {
			return false
		}
	}
	return false
}
