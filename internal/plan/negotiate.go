package plan

import (
	"strconv"
	"strings"

	"safelight/internal/format"
	"safelight/internal/options"
)

// Accept is what a client's Accept header says of formats that not every
// client can show. It is small and comparable, so that it can be part of a
// cache key in the header's stead.
type Accept struct{ AVIF, WebP, JXL bool }

// Accepting is the word of a client that shows the formats of these names.
func Accepting(names ...string) (a Accept) {
	for _, name := range names {
		switch format.Parse(name) {
		case format.AVIF:
			a.AVIF = true
		case format.WebP:
			a.WebP = true
		case format.JXL:
			a.JXL = true
		}
	}
	return a
}

// And is what both accept.
func (a Accept) And(b Accept) Accept {
	return Accept{AVIF: a.AVIF && b.AVIF, WebP: a.WebP && b.WebP, JXL: a.JXL && b.JXL}
}

// ParseAccept reads an Accept header. Only formats that are named count: "*/*"
// says nothing of AVIF, WebP or JPEG XL, since clients send it that show none.
func ParseAccept(header string) Accept {
	var a Accept
	for part := range strings.SplitSeq(header, ",") {
		media, params, _ := strings.Cut(part, ";")
		media = strings.TrimSpace(media)
		switch {
		case len(media) != 9 && len(media) != 10:
		case strings.EqualFold(media, "image/avif"):
			a.AVIF = !refused(params)
		case strings.EqualFold(media, "image/webp"):
			a.WebP = !refused(params)
		case strings.EqualFold(media, "image/jxl"):
			a.JXL = !refused(params)
		}
	}
	return a
}

// refused tells a quality of zero.
func refused(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err != nil || !(q > 0)
		}
	}
	return false
}

// Target is the format that a rendition gets: the one asked for, or the source's
// own where none is (JPEG, or PNG with transparency, where that can't be
// encoded). With Auto it is the best that the client accepts and that keeps
// transparency and frames, and otherwise what every client shows: GIF for an
// animation, PNG for transparency, JPEG. The result is an encodable format.
func (c Config) Target(o options.Options, h format.Header, accept Accept) format.Format {
	plain := format.JPEG
	if h.Alpha {
		plain = format.PNG
	}
	if !o.Auto {
		switch {
		case o.Format != format.Unknown:
			return o.Format
		case h.Format.Encodable():
			return h.Format
		}
		return plain
	}
	moving := h.Animated && !o.Still
	for _, name := range c.AutoFormats {
		f := format.Parse(name)
		if moving && !f.Animates() || h.Alpha && !f.HasAlpha() {
			continue
		}
		if accept.Shows(f) {
			return f
		}
	}
	if moving {
		return format.GIF // which every client shows
	}
	return plain
}

// Shows tells whether a client can show a format.
func (a Accept) Shows(f format.Format) bool {
	switch f {
	case format.AVIF:
		return a.AVIF
	case format.WebP:
		return a.WebP
	case format.JXL:
		return a.JXL
	}
	return f.Encodable()
}
