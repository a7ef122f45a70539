package vips

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unsafe"
)

// Codec is a library that libvips uses here, with its version: the library's
// own word where it has a function for that, otherwise that of its file.
type Codec struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type library struct {
	file   string // its name up to ".so"
	symbol string // of a function without arguments, or "" when there is none
	format func(int) string
}

// Functions without format return a C string.
var libraries = []library{
	{"libjpeg", "", nil},
	{"libspng", "spng_version_string", nil},
	{"libpng16", "png_get_libpng_ver", nil},
	{"libwebp", "WebPGetEncoderVersion", hex3},
	{"libheif", "heif_get_version", nil},
	{"libaom", "aom_codec_version_str", nil},
	{"libdav1d", "dav1d_version", nil},
	{"libde265", "de265_get_version", nil},
	{"libx265", "", nil},
	{"libtiff", "TIFFGetVersion", nil},
	{"liblcms2", "cmsGetEncodedCMMversion", thousandths},
	{"libcgif", "", nil},
	{"libjxl", "JxlDecoderVersion", thousandsPacked},
	{"libexif", "", nil},
	{"liborc-0.4", "orc_version_string", nil},
	{"libhwy", "", nil},
	{"libpango-1.0", "pango_version_string", nil},
	{"libglib-2.0", "", nil},
}

func hex3(v int) string            { return fmt.Sprintf("%d.%d.%d", v>>16&255, v>>8&255, v&255) }
func thousandths(v int) string     { return fmt.Sprintf("%d.%02d", v/1000, v%1000/10) }
func thousandsPacked(v int) string { return fmt.Sprintf("%d.%d.%d", v/1e6, v/1000%1000, v%1000) }

// Codecs lists the codec libraries that are loaded in this process, by name.
// It reads file names, so it belongs before a sandbox is closed.
func Codecs() []Codec {
	loaded := loadedLibraries()
	var out []Codec
	for _, l := range libraries {
		path, ok := loaded[l.file]
		if !ok {
			continue
		}
		version := l.ask(path)
		if version == "" {
			version = fileVersion(path)
		}
		out = append(out, Codec{strings.TrimPrefix(l.file, "lib"), version})
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out
}

// versionsFile is what builds of libvips with all codecs in one file, such as
// sharp's, bring beside it: an object of names and versions.
const versionsFile = "versions.json"

// BuiltIn lists the libraries within a libvips that has its codecs built in, by
// name; nil for one that has them beside it (see Codecs), or where nothing tells.
// It reads a file, so it belongs before a sandbox is closed.
func BuiltIn() []Codec {
	opened.Lock()
	path := opened.path
	opened.Unlock()
	if !filepath.IsAbs(path) {
		return nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), versionsFile))
	if err != nil {
		return nil
	}
	var versions map[string]string
	if json.Unmarshal(text, &versions) != nil || versions["vips"] != Version() {
		return nil // of another libvips, or of none
	}
	delete(versions, "vips")
	out := make([]Codec, 0, len(versions))
	for name, version := range versions {
		out = append(out, Codec{name, version})
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out
}

func (l library) ask(path string) string {
	if l.symbol == "" {
		return ""
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	fn := C.vs_symbol(name, intern(l.symbol))
	if fn == nil {
		return ""
	}
	if l.format != nil {
		return l.format(int(C.vs_call_int(fn)))
	}
	text := C.GoString(C.vs_call_string(fn))
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(first, "LIBTIFF, Version ")
}

func loadedLibraries() map[string]string {
	const most = 512
	var list [most]*C.char
	n := int(C.vs_libraries(&list[0], most))
	found := make(map[string]string, n)
	for _, p := range list[:n] {
		path := C.GoString(p)
		C.free(unsafe.Pointer(p))
		if name, _, ok := strings.Cut(filepath.Base(path), ".so"); ok {
			found[name] = path
		}
	}
	return found
}

// fileVersion is what stands behind ".so." in the file's real name: libjpeg.so.62.3.0 is "so 62.3.0".
func fileVersion(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if _, v, ok := strings.Cut(filepath.Base(path), ".so."); ok {
		return "so " + v
	}
	return "unknown"
}
