// Package wire holds what the pool and a codec process say to each other: small
// JSON messages over a SOCK_SEQPACKET socket pair, one message a packet, with
// files beside them as descriptors. No pixels travel this way.
//
// In order: the pool sends Setup, the process answers Hello when it is ready;
// then, as often as there is work, a plan.Job with its files, and a Reply.
package wire

import (
	"encoding/json"
	"fmt"

	"safelight/internal/codec/sandbox"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

const (
	// SocketFD is the descriptor on which a codec process finds its socket.
	SocketFD = 3
	// MaxMessage bounds a message in either direction, bytes.
	MaxMessage = 64 << 10
	// DataRoom is writable memory that a process maps and hardly touches: the Go
	// heap's arena and the stacks of its threads. It comes on top of MemoryBytes.
	DataRoom = 256 << 20
	// MaxFiles is how many files come with a job: source, overlay, output.
	MaxFiles = 3
)

// Setup tells a codec process what it is to be.
type Setup struct {
	Library     string   `json:"library"` // libvips to load; empty is the default
	MemoryBytes int64    `json:"memory_bytes"`
	SearchBytes int64    `json:"search_bytes"` // more, that the pool may allow for a job
	OutputBytes int64    `json:"output_bytes"` // largest file it may write
	Readable    []string `json:"readable"`     // folders it may read beside the system's libraries
}

// Info is what a codec process is made of, for logs and `safelight version`.
type Info struct {
	Libvips   string         `json:"libvips"`   // version
	Libraries []Library      `json:"libraries"` // codec libraries in use
	Reads     []string       `json:"reads"`     // formats with a loader here
	Writes    []string       `json:"writes"`    // formats with a saver here
	Features  []string       `json:"features"`  // what depends on optional libraries
	Sandbox   sandbox.Status `json:"sandbox"`
	Fallback  *Info          `json:"fallback,omitempty"` // set by a pool that has processes of another kind too
}

// Library is a library with its version.
type Library struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Hello is the first thing a codec process says: it is ready, or why it can't be.
type Hello struct {
	Info  Info   `json:"info"`
	Error string `json:"error,omitempty"`
}

// Reply answers a job: exactly one field is set.
type Reply struct {
	Result *plan.Result `json:"result,omitempty"`
	Error  *Error       `json:"error,omitempty"`
}

// Error carries a *fault.Error across.
type Error struct {
	Kind    string `json:"kind"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Cause   string `json:"cause,omitempty"`
}

// FromError makes an error ready to travel.
func FromError(err error) *Error {
	e := fault.As(err)
	if e == nil {
		return &Error{Kind: fault.Internal.String(), Message: "the codec process failed", Cause: err.Error()}
	}
	w := &Error{Kind: e.Kind.String(), Code: e.Code, Message: e.Message}
	if e.Cause != nil {
		w.Cause = e.Cause.Error()
	}
	return w
}

// Fault is the error as it was.
func (e *Error) Fault() *fault.Error {
	f := &fault.Error{Code: e.Code, Message: e.Message}
	for _, k := range fault.Kinds() {
		if k.String() == e.Kind {
			f.Kind = k
		}
	}
	if e.Cause != "" {
		f.Cause = fmt.Errorf("%s", e.Cause)
	}
	return f
}

// Encode writes a message, and refuses one that is too long.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err == nil && len(b) > MaxMessage {
		return nil, fault.New(fault.Invalid, "the job is described in %d bytes; the limit is %d", len(b), MaxMessage)
	}
	return b, err
}
