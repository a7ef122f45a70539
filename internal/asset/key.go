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
// segment (either slash), NFC, forbidden characters dropped, leading dots and
// dashes and spaces trimmed, at most MaxNameBytes with the extension kept. It
// is "" when nothing is left.
func CleanName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = norm.NFC.String(name)
	name = strings.Map(func(r rune) rune {
		if forbidden(r) || r == '/' {
			return -1
		}
		return r
	}, name)
	name = strings.TrimLeft(strings.TrimSpace(name), ".- ~")
	name = strings.TrimRight(name, ". ")
	if len(name) > MaxNameBytes {
		ext := path.Ext(name)
		if len(ext) > 16 {
			ext = ""
		}
		name = cut(strings.TrimSuffix(name, ext), MaxNameBytes-len(ext)) + ext
	}
	return name
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

// KeyCandidates are the keys that a new image may get, best first: the name
// itself, then with a part of the digest, then with the id, which is free for
// sure. The extension follows the format where the name has none. prefix may
// be "" or end in a slash.
func KeyCandidates(prefix, name string, src Source, id ID) []string {
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if stem == "" {
		stem, ext = name, ""
	}
	if name == "" {
		stem = "image"
	}
	if ext == "" {
		ext = "." + src.Header.Format.Ext()
	}
	room := MaxKeyBytes - len(prefix) - len(ext) - 40
	stem = cut(stem, max(room, 1))
	return []string{
		prefix + stem + ext,
		prefix + stem + "~" + src.Digest.String()[:8] + ext,
		prefix + stem + "~" + id.String() + ext,
	}
}
