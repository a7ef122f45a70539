package vips

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// Arg is one argument of an operation: Set gives it, Get asks for it.
type Arg struct {
	name  string
	value any
	out   bool
}

// Set gives an argument. The value's type is one of int, float64, bool, string
// (also for the nickname of an enum's value), []float64, *Image, []*Image,
// Source, Target; it is converted to what the operation wants, or the call fails.
func Set(name string, value any) Arg { return Arg{name, value, false} }

// Get asks for a result, into a *int, *float64, *[]float64 or **Image.
func Get(name string, into any) Arg { return Arg{name, into, true} }

// Scope owns the images, sources and targets that are made in it, until Close.
// An operation keeps what it needs of its inputs alive by itself.
type Scope struct {
	objects []unsafe.Pointer
	images  []*Image
	copies  []unsafe.Pointer // what sources in memory read from
}

// NewScope makes an empty scope.
func NewScope() *Scope { return &Scope{} }

// Close frees everything in the scope, the latest first. Using one of its images
// afterwards is an error. The scope itself can be used again.
func (s *Scope) Close() {
	for _, i := range s.images {
		i.p = nil
	}
	s.images = s.images[:0]
	for i := len(s.objects) - 1; i >= 0; i-- {
		C.vs_unref(s.objects[i])
	}
	s.objects = s.objects[:0]
	for _, p := range s.copies {
		C.free(p)
	}
	s.copies = s.copies[:0]
}

func (s *Scope) own(p unsafe.Pointer) unsafe.Pointer {
	s.objects = append(s.objects, p)
	return p
}

// Call builds one operation. A failure is an *Error.
func (s *Scope) Call(operation string, args ...Arg) error {
	var few [12]C.vs_arg
	list := few[:0]
	var temporary []unsafe.Pointer
	defer func() {
		for _, p := range temporary {
			C.free(p)
		}
	}()
	for _, a := range args {
		c := C.vs_arg{name: intern(a.name)}
		p, err := a.fill(&c)
		if err != nil {
			return fmt.Errorf("vips: %s: %w", operation, err)
		}
		if p != nil {
			temporary = append(temporary, p)
		}
		list = append(list, c)
	}
	var first *C.vs_arg
	if len(list) > 0 {
		first = &list[0]
	}
	if C.vs_call(intern(operation), first, C.int(len(list))) != 0 {
		s.release(list)
		return failure(operation)
	}
	for i, a := range args {
		if a.out {
			if err := s.read(&list[i], a.value); err != nil {
				return fmt.Errorf("vips: %s: %s: %w", operation, a.name, err)
			}
		}
	}
	return nil
}

// Op builds an operation that turns the picture "in" into the picture "out".
func (s *Scope) Op(operation string, in *Image, args ...Arg) (*Image, error) {
	var out *Image
	all := make([]Arg, 0, 10)
	all = append(append(all, Set("in", in), Get("out", &out)), args...)
	if err := s.Call(operation, all...); err != nil {
		return nil, err
	}
	return out, nil
}

// release drops results of a call that failed on a later one.
func (s *Scope) release(list []C.vs_arg) {
	for i := range list {
		if list[i].kind == C.VS_OBJECT && list[i].n < 0 && list[i].object != nil {
			C.vs_unref(list[i].object)
		}
	}
}

// fill writes a Go value into the argument; what it returns is to be freed after the call.
func (a Arg) fill(c *C.vs_arg) (unsafe.Pointer, error) {
	if a.out {
		c.kind, c.n = C.VS_OUTPUT, -1
		return nil, nil
	}
	c.kind = C.VS_NUMBER
	switch v := a.value.(type) {
	case int:
		c.number = C.double(v)
	case float64:
		c.number = C.double(v)
	case bool:
		c.number = C.double(cBool(v))
	case string:
		c.kind, c.text = C.VS_TEXT, C.CString(v)
		return unsafe.Pointer(c.text), nil
	case *Image:
		c.kind, c.object = C.VS_OBJECT, v.p
	case Source:
		c.kind, c.object = C.VS_OBJECT, v.p
	case Target:
		c.kind, c.object = C.VS_OBJECT, v.p
	case []float64:
		p := C.malloc(C.size_t(8 * (len(v) + 1)))
		copy(unsafe.Slice((*float64)(p), len(v)), v)
		c.kind, c.doubles, c.n = C.VS_DOUBLES, (*C.double)(p), C.int(len(v))
		return p, nil
	case []*Image:
		p := C.malloc(C.size_t(8 * (len(v) + 1)))
		for i, image := range v {
			unsafe.Slice((*unsafe.Pointer)(p), len(v))[i] = image.p
		}
		c.kind, c.objects, c.n = C.VS_OBJECTS, (*unsafe.Pointer)(p), C.int(len(v))
		return p, nil
	default:
		return nil, fmt.Errorf("argument %s can't be a %T", a.name, a.value)
	}
	if c.kind == C.VS_OBJECT && c.object == nil {
		return nil, errClosed
	}
	return nil, nil
}

func (s *Scope) read(c *C.vs_arg, into any) error {
	switch into := into.(type) {
	case *int:
		*into = int(c.number)
	case *float64:
		*into = float64(c.number)
	case *[]float64:
		if c.doubles == nil {
			return fmt.Errorf("is no array")
		}
		*into = append([]float64(nil), unsafe.Slice((*float64)(c.doubles), int(c.n))...)
		C.free(unsafe.Pointer(c.doubles))
	case **Image:
		if c.object == nil {
			return fmt.Errorf("is no image")
		}
		*into = s.image(c.object)
	default:
		return fmt.Errorf("can't be read into a %T", into)
	}
	return nil
}
