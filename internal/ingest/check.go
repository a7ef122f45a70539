package ingest

import (
	"mime"
	"path"
	"strings"
	"sync"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// maxBands is CMYK with alpha: no picture that can be shown has more.
const maxBands = 5

// check holds a header against the limits. Each breach names its setting.
func (c Config) check(h format.Header) error {
	side := int64(max(h.Width, h.Height))
	page := max(int64(h.Width)*int64(h.Height), h.MaxPixels)
	total := max(h.Pixels(), page)
	switch {
	case side > int64(c.MaxSide):
		return fault.Limit(fault.Unprocessable, "ingest.max_side", int64(c.MaxSide), side,
			"the picture is %d×%d px; a side may have %d", h.Width, h.Height, c.MaxSide)
	case page > c.MaxPagePixels:
		return fault.Limit(fault.Unprocessable, "ingest.max_page_pixels", c.MaxPagePixels, page,
			"a page has %d pixels; the limit is %d", page, c.MaxPagePixels)
	case h.Pages > c.MaxPages:
		return fault.Limit(fault.Unprocessable, "ingest.max_pages", int64(c.MaxPages), int64(h.Pages),
			"the file has %d pages or frames; the limit is %d", h.Pages, c.MaxPages)
	case total > c.MaxTotalPixels:
		return fault.Limit(fault.Unprocessable, "ingest.max_total_pixels", c.MaxTotalPixels, total,
			"all pages together have %d pixels; the limit is %d", total, c.MaxTotalPixels)
	case h.Bands > maxBands:
		return fault.Limit(fault.Unprocessable, "bands", maxBands, int64(h.Bands),
			"a pixel has %d channels; the limit is %d", h.Bands, maxBands)
	case h.Scans > c.MaxScans:
		return fault.Limit(fault.Unprocessable, "ingest.max_scans", int64(c.MaxScans), int64(h.Scans),
			"the JPEG has %d scans; the limit is %d", h.Scans, c.MaxScans)
	}
	return nil
}

// contradiction tells when the name or the Content-Type claims another picture
// format, or something that is no picture, than the bytes are.
func contradiction(f File, is format.Format) error {
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(f.Name), "."))
	if ext != "" && claimed(ext) != is {
		return fault.New(fault.Unsupported, "the name ends in .%s but the bytes are %s", ext, is)
	}
	media, _, err := mime.ParseMediaType(f.ContentType)
	if err != nil || media == "application/octet-stream" || media == "" {
		return nil
	}
	name, ok := strings.CutPrefix(media, "image/")
	if !ok || claimed(strings.TrimSuffix(name, "-sequence")) != is {
		return fault.New(fault.Unsupported, "the Content-Type says %s but the bytes are %s", media, is)
	}
	return nil
}

// claimed is the format that an extension or a media subtype stands for, in
// the spellings that clients use.
func claimed(name string) format.Format {
	switch name {
	case "jfif", "jpe", "pjpeg":
		return format.JPEG
	case "apng":
		return format.PNG
	case "hif":
		return format.HEIC
	}
	return format.Parse(name)
}

// checkPrefix refuses a prefix that leaves no room for a name, or that no key
// may begin with.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > asset.MaxPrefixBytes {
		return fault.Limit(fault.Invalid, "prefix length", asset.MaxPrefixBytes, int64(len(prefix)),
			"the prefix has %d bytes; the limit is %d", len(prefix), asset.MaxPrefixBytes)
	}
	return asset.CheckKey(strings.TrimSuffix(prefix, "/"))
}

// TooLarge is the answer to a file of more bytes than the limit.
func (c Config) TooLarge(bytes int64) error {
	return fault.Limit(fault.TooLarge, "ingest.max_file_bytes", c.MaxFileBytes, bytes,
		"the file is larger than %d bytes, the limit for one file", c.MaxFileBytes)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, copyBytes); return &b }}

func getBuffer() *[]byte  { return buffers.Get().(*[]byte) }
func putBuffer(b *[]byte) { buffers.Put(b) }
