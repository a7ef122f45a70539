package publish

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// Bounds of an object's name, as UTF-8. They are those of S3 and of the usual
// file systems.
const (
	maxObjectBytes  = 1024
	maxSegmentBytes = 255
	// What of a template never gets shorter; it leaves room for the rest.
	maxFixedBytes        = 768
	maxFixedSegmentBytes = 200
)

// widths are the placeholders and their lengths; those of 0 vary, and are cut
// where a name gets too long.
var widths = map[string]int{
	"category": 0, "name": 0, "owner": 0, "preset": 0,
	"yyyy": 4, "mm": 2, "dd": 2, "sha256": 64, "sha8": 8, "id": 26, "ext": 4,
}

// cuts is the order in which values give way.
var cuts = []string{"name", "category", "owner", "preset"}

// original stands for the preset where the object is the source.
const original = "original"

// part is a literal, or the name of a placeholder.
type part struct {
	text        string
	placeholder bool
}

// template makes names of objects. Its segments are what stands between
// slashes.
type template struct{ segments [][]part }

// parseTemplate reads a template such as "{yyyy}/{id}/{preset}.{ext}".
func parseTemplate(text string) (*template, error) {
	t := &template{}
	total := 0
	for segment := range strings.SplitSeq(text, "/") {
		parts, err := parseSegment(segment)
		if err != nil {
			return nil, err
		}
		fixed := 0
		for _, p := range parts {
			if p.placeholder {
				fixed += widths[p.text]
			} else {
				fixed += len(p.text)
			}
		}
		if total += fixed + 1; fixed > maxFixedSegmentBytes || total > maxFixedBytes {
			return nil, fault.New(fault.Invalid, "name: the template is too long; between two slashes there may be %d bytes and in all %d, without {name}, {category}, {owner} and {preset}", maxFixedSegmentBytes, maxFixedBytes)
		}
		t.segments = append(t.segments, parts)
	}
	if !t.has("id") && !t.has("sha256") && !t.has("sha8") && !t.has("name") {
		return nil, fault.New(fault.Invalid, "name: a template needs one of {id}, {sha256}, {sha8} and {name}, or all objects would have the same name")
	}
	return t, nil
}

func parseSegment(segment string) ([]part, error) {
	if segment == "" || segment == "." || segment == ".." {
		return nil, fault.New(fault.Invalid, "name: a template can't have a segment %q between slashes", segment)
	}
	if clean(segment) != segment {
		return nil, fault.New(fault.Invalid, "name: a template can't have control characters, backslashes or broken UTF-8")
	}
	var parts []part
	for segment != "" {
		literal, rest, open := strings.Cut(segment, "{")
		if strings.Contains(literal, "}") {
			return nil, fault.New(fault.Invalid, "name: there is a } without a { in the template")
		}
		if literal != "" {
			parts = append(parts, part{text: literal})
		}
		if !open {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fault.New(fault.Invalid, "name: there is a { without a } in the template")
		}
		if _, ok := widths[name]; !ok {
			known := slices.Sorted(maps.Keys(widths))
			return nil, fault.New(fault.Invalid, "name: there is no placeholder {%.40s}; there are {%s}", name, strings.Join(known, "} {"))
		}
		parts = append(parts, part{name, true})
		segment = after
	}
	return parts, nil
}

// has tells whether a placeholder occurs.
func (t *template) has(placeholder string) bool {
	return count(placeholder, t.segments...) > 0
}

func count(placeholder string, segments ...[]part) int {
	n := 0
	for _, s := range segments {
		for _, p := range s {
			if p.placeholder && p.text == placeholder {
				n++
			}
		}
	}
	return n
}

// name makes the name of an image's object with bytes in a format. It depends
// on nothing but these, so that an optimised rendition gets the name of the
// fast one. The result is a relative path without empty or dot segments, of at
// most maxObjectBytes; parts that vary are cut where it would be longer.
func (t *template) name(img asset.Image, preset string, f format.Format) string {
	digest := img.Source.Digest.String()
	at := img.Created.UTC()
	if preset == "" {
		preset = original
	}
	values := map[string]string{
		"category": strings.Trim(clean(img.Category), "/"), "name": stem(img.Name),
		"owner": flat(img.Owner), "preset": flat(preset),
		"yyyy": at.Format("2006"), "mm": at.Format("01"), "dd": at.Format("02"),
		"sha256": digest, "sha8": digest[:8], "id": img.ID.String(), "ext": f.Ext(),
	}
	for {
		name, long, over := t.expand(values)
		if over <= 0 {
			return name
		}
		if !shorten(values, over, long) {
			return digest // can't be: fixed parts always fit
		}
	}
}

// expand fills the values in. Where the result is too long it tells by how
// much, and in which segments of the template.
func (t *template) expand(values map[string]string) (name string, long [][]part, over int) {
	var done []string
	for _, parts := range t.segments {
		var b strings.Builder
		for _, p := range parts {
			if p.placeholder {
				b.WriteString(values[p.text])
			} else {
				b.WriteString(p.text)
			}
		}
		for segment := range strings.SplitSeq(b.String(), "/") {
			if strings.Trim(segment, ".") == "" {
				segment = strings.Repeat("_", len(segment)) // "." and ".." would be other places
			}
			if len(done) == 0 && segment == "tmp" {
				segment = "tmp_" // that directory of a disk store is not for blobs
			}
			if len(segment) > maxSegmentBytes {
				return "", [][]part{parts}, len(segment) - maxSegmentBytes
			}
			if segment != "" {
				done = append(done, segment)
			}
		}
	}
	name = path.Join(done...)
	return name, t.segments, len(name) - maxObjectBytes
}

// shorten cuts the first value that varies, occurs in the segments, and is not
// used up.
func shorten(values map[string]string, over int, segments [][]part) bool {
	for _, placeholder := range cuts {
		n, v := count(placeholder, segments...), values[placeholder]
		if n > 0 && v != "" {
			values[placeholder] = cut(v, max(0, len(v)-(over+n-1)/n))
			return true
		}
	}
	return false
}

// cut shortens to at most n bytes without breaking a character.
func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// stem is a file name without its extension.
func stem(name string) string {
	name = flat(asset.CleanName(name))
	if ext := path.Ext(name); len(ext) <= 16 {
		name = strings.TrimSuffix(name, ext)
	}
	if name == "" {
		return "image"
	}
	return name
}

// flat makes a value that adds no segments.
func flat(s string) string { return strings.ReplaceAll(clean(s), "/", "-") }

// clean drops what must not be in a path: broken UTF-8, control and formatting
// characters, backslashes.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\\' || r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
