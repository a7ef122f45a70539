// Package jxl is a thin binding over libjxl: the butteraugli metric, and JPEG
// files made smaller without loss (a JPEG XL file from which the JPEG comes back
// bit for bit). It holds no policy.
//
// libjxl is loaded at run time by Open, so a program that links this package
// carries none of its libraries until then. It parses what strangers send, in
// C++, so it belongs in a codec process: out of memory, it ends the process.
// A Library must be used from one goroutine at a time; it starts no threads.
package jxl

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
	"unsafe"

	"safelight/internal/fault"
)

// Names are those under which distributions install the library, in the order
// in which Open tries them: 0.7, as the last with butteraugli, comes first.
var Names = []string{
	"libjxl.so.0.7", "libjxl.so.0.8", "libjxl.so.0.9", "libjxl.so.0.10", "libjxl.so.0.11", "libjxl.so.0.12", "libjxl.so",
}

// Library is a loaded libjxl. It stays loaded for the life of the process.
type Library struct{ p *C.jx_library }

// Open loads the library at path, or the first of Names where it is empty. The
// error is Unavailable and names what is missing.
func Open(path string) (*Library, error) {
	names := Names
	if path != "" {
		names = []string{path}
	}
	var problems []error
	for _, name := range names {
		l, err := load(name)
		if err == nil {
			return l, nil
		}
		problems = append(problems, err)
	}
	return nil, fault.Wrap(fault.Unavailable, errors.Join(problems...),
		"JPEG XL needs libjxl, which can't be loaded; on Debian 12 it is the package libjxl0.7")
}

func load(path string) (*Library, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	problem := (*C.char)(C.calloc(512, 1))
	defer C.free(unsafe.Pointer(problem))
	l := &Library{C.jx_open(name, problem, 512)}
	if l.p == nil {
		return nil, fmt.Errorf("jxl: %s: %s", path, C.GoString(problem))
	}
	if major, minor := l.number(); major == 0 && minor < 7 {
		defer C.jx_free(l.p)
		return nil, fmt.Errorf("jxl: %s is version %s; 0.7 or later is needed", path, l.Version())
	}
	return l, nil
}

func (l *Library) number() (major, minor int) {
	v := int(C.jx_version(l.p))
	return v / 1e6, v / 1e3 % 1e3
}

// Version is libjxl's own version, such as "0.7.0".
func (l *Library) Version() string {
	major, minor := l.number()
	return fmt.Sprintf("%d.%d.%d", major, minor, int(C.jx_version(l.p))%1e3)
}
