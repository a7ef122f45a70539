// Package vips is a thin binding over libvips' operation layer: look an
// operation up by name, set its arguments, build it, read its results. It holds
// no policy, and it is the only package besides the encoders that may import "C".
//
// libvips is loaded at run time by Open, so a program that links this package
// carries none of libvips' libraries until then. There is one libvips a process;
// its settings and its error text are global. Use it from one goroutine at a
// time, except where a comment says otherwise.
package vips

/*
#cgo CFLAGS: -O2 -Wall -std=gnu11
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// DefaultLibrary is the name under which Debian 12 and later, and every
// libvips 8.x, install the library.
const DefaultLibrary = "libvips.so.42"

var opened struct {
	sync.Mutex
	path string
	err  error
}

// Open loads the library from path (DefaultLibrary where empty) and initialises
// it with the named modules only, such as "vips-heif": those that libvips would
// load by itself bring in ImageMagick, Poppler and other parts that nobody asked
// for. A module that isn't installed is skipped; Has tells what there is. A
// second call gives the first one's result; another path is an error.
func Open(path string, modules ...string) error {
	opened.Lock()
	defer opened.Unlock()
	if path == "" {
		path = DefaultLibrary
	}
	if opened.path != "" {
		if opened.path != path {
			return fmt.Errorf("vips: %s is loaded already; there is one libvips a process", opened.path)
		}
		return opened.err
	}
	opened.path, opened.err = path, load(path, modules)
	return opened.err
}

func load(path string, modules []string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	list := C.calloc(C.size_t(len(modules)+1), C.size_t(unsafe.Sizeof(name)))
	defer C.free(list)
	for i, m := range modules {
		entry := C.CString(m)
		defer C.free(unsafe.Pointer(entry))
		unsafe.Slice((**C.char)(list), len(modules))[i] = entry
	}
	problem := (*C.char)(C.calloc(512, 1))
	defer C.free(unsafe.Pointer(problem))
	if C.vs_open(name, (**C.char)(list), problem, 512) != 0 {
		return fmt.Errorf("vips: can't load %s: %s", path, C.GoString(problem))
	}
	return nil
}

// Version is libvips' own version, such as "8.14.1".
func Version() string { return C.GoString(C.vs_version()) }

// BlockUntrusted blocks every operation that libvips' authors mark as unsafe
// for files from strangers, or allows them again.
func BlockUntrusted(block bool) { C.vs_block_untrusted(cBool(block)) }

// Block blocks a class of operations and all below it, such as
// "VipsForeignLoad", or allows them again.
func Block(class string, block bool) {
	name := C.CString(class)
	defer C.free(unsafe.Pointer(name))
	C.vs_block(name, cBool(block))
}

// CacheMax bounds how many operations libvips keeps for reuse; 0 is none.
func CacheMax(n int) { C.vs_cache_max(C.int(n)) }

// Concurrency sets how many threads compute one picture.
func Concurrency(n int) { C.vs_concurrency(C.int(n)) }

// Tracked says how much libvips holds for pictures at this moment: heap blocks,
// their bytes, and open files. For tests that look for leaks.
func Tracked() (allocations int, bytes int64, files int) {
	var a, n C.int
	var b C.size_t
	C.vs_tracked(&a, &b, &n)
	return int(a), int64(b), int(n)
}

// Has tells whether an operation exists under a nickname, such as
// "heifload_source" or "jxlsave_target".
func Has(operation string) bool { return C.vs_has(intern(operation)) != 0 }

// Error is what libvips said of a failed operation.
type Error struct {
	Operation string
	Text      string // libvips' error buffer, which may be several lines
}

func (e *Error) Error() string { return e.Operation + ": " + e.Text }

// failure takes libvips' error buffer, which is empty afterwards.
func failure(operation string) error {
	text := C.vs_error_take()
	defer C.vs_free(unsafe.Pointer(text))
	e := &Error{operation, strings.TrimSpace(C.GoString(text))}
	if e.Text == "" {
		e.Text = "failed without saying why"
	}
	return e
}

var errClosed = errors.New("vips: used after Close")

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Names of operations, arguments and fields are literals in the program, so
// their C copies are few and kept.
var names sync.Map // string -> *C.char

func intern(s string) *C.char {
	if p, ok := names.Load(s); ok {
		return p.(*C.char)
	}
	p, _ := names.LoadOrStore(s, C.CString(s))
	return p.(*C.char)
}
