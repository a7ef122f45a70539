package asset

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"safelight/internal/fault"
)

// MaxKeyBytes and MaxNameBytes bound keys and file names, as UTF-8.
const (
	MaxKeyBytes  = 1024
	MaxNameBytes = 255
)

// CheckKey refuses a key that is not safe as a path: it must be valid UTF-8 in
// NFC, at most MaxKeyBytes, without control or bidirectional-formatting
// characters or backslashes, and its segments must not be empty, "." or "..".
// Keys never become paths of the file system; this keeps them safe for whoever
// mirrors them into one.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fault.New(fault.Invalid, "the key is empty")
	case len(key) > MaxKeyBytes:
		return fault.Limit(fault.Invalid, "key length", MaxKeyBytes, int64(len(key)), "the key has %d bytes; the limit is %d", len(key), MaxKeyBytes)
	case !utf8.ValidString(key):
		return fault.New(fault.Invalid, "the key is not valid UTF-8")
	case !norm.NFC.IsNormalString(key):
		return fault.New(fault.Invalid, "the key is not in Unicode normal form C")
	}
	for _, r := range key {
		if forbidden(r) {
			return fault.New(fault.Invalid, "the key contains the character %U, which is not allowed", r)
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fault.New(fault.Invalid, "the key has a path segment %q", segment)
		}
	}
	return nil
}

// forbidden tells characters that would change what a key looks like, break a
// header, or mean something to a shell's or Windows' path.
func forbidden(r rune) bool {
	return r == '\\' || r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// CleanName makes a safe file name of what a client sent: the last path
// segment (either slash), NFC, forbidden characters dropped, leading dots,
// dashes, tildes and spaces and trailing dots and spaces trimmed, at most
// MaxNameBytes with the extension kept. It is "" when nothing is left, and
// otherwise a key of one segment.
func CleanName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if forbidden(r) || r == '/' {
			return -1
		}
		return r
	}, name)
	// Only now, since what stood between a letter and its accent is gone.
	name = trimName(norm.NFC.String(name))
	if len(name) > MaxNameBytes {
		stem, ext := splitExt(name)
		name = trimName(cut(stem, MaxNameBytes-len(ext)) + ext)
	}
	return name
}

func trimName(name string) string {
	name = strings.TrimLeftFunc(name, func(r rune) bool { return strings.ContainsRune(".-~", r) || unicode.IsSpace(r) })
	return strings.TrimRightFunc(name, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
}

// maxExtBytes bounds what counts as a file name's extension, dot included.
const maxExtBytes = 16

// splitExt divides a name into stem and extension; a name that is all
// extension, or has a very long one, is all stem.
func splitExt(name string) (stem, ext string) {
	ext = path.Ext(name)
	if len(ext) > maxExtBytes || len(ext) == len(name) {
		ext = ""
	}
	return strings.TrimSuffix(name, ext), ext
}

// cut shortens to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// MaxPrefixBytes bounds the prefix of KeyCandidates, so that there is room for
// a name and what makes it unique.
const MaxPrefixBytes = MaxKeyBytes - 128

// KeyCandidates are the keys that a new image may get, best first: the name
// itself, then with a part of the digest, then with the id, which is free for
// sure. The extension follows the format where the name has none. prefix is ""
// or ends in a slash, and has at most MaxPrefixBytes; a long name is cut to fit.
func KeyCandidates(prefix, name string, src Source, id ID) []string {
	stem, ext := splitExt(name)
	if stem == "" {
		stem = "image"
	}
	if ext == "" {
		ext = "." + src.Header.Format.Ext()
	}
	room := MaxKeyBytes - len(prefix) - len(ext) - len("~"+id.String())
	stem = cut(stem, max(room, 1))
	return []string{
		prefix + stem + ext,
		prefix + stem + "~" + src.Digest.String()[:8] + ext,
		prefix + stem + "~" + id.String() + ext,
	}
}
