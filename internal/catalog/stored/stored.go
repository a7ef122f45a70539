// Package stored has the forms in which catalogs keep what their columns have no
// type for. They are the same in every database, so that rows can be carried
// over from one to another, and part of its schema: what has been written must
// stay readable.
package stored

import (
	"encoding/json"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/task"
)

// Damaged is the error of a row that can't be what was written. It is
// fault.Internal.
func Damaged(cause error) error {
	if cause == nil {
		return fault.New(fault.Internal, "the database is damaged")
	}
	return fault.Wrap(fault.Internal, cause, "the database is damaged")
}

// header is format.Header as JSON; the names are part of the schema.
type header struct {
	Width       int    `json:"w"`
	Height      int    `json:"h"`
	Pages       int    `json:"pages,omitempty"`
	Orientation int    `json:"orient,omitempty"`
	Alpha       bool   `json:"alpha,omitempty"`
	Animated    bool   `json:"anim,omitempty"`
	Color       string `json:"color,omitempty"`
	Bands       int    `json:"bands,omitempty"`
	BitDepth    int    `json:"depth,omitempty"`
	ICC         bool   `json:"icc,omitempty"`
	Location    bool   `json:"gps,omitempty"`
	Scans       int    `json:"scans,omitempty"`
	Format      string `json:"format"`
	MaxPixels   int64  `json:"maxpx,omitempty"`
}

var colors = []string{format.RGB: "rgb", format.Gray: "gray", format.CMYK: "cmyk", format.Palette: "palette"}

// Header encodes a header as JSON. One that can't be stored is fault.Internal.
func Header(h format.Header) (string, error) {
	if int(h.Color) >= len(colors) {
		return "", fault.New(fault.Internal, "the colour model %d can't be stored", h.Color)
	}
	text, err := json.Marshal(header{
		h.Width, h.Height, h.Pages, h.Orientation, h.Alpha, h.Animated, colors[h.Color],
		h.Bands, h.BitDepth, h.ICC, h.Location, h.Scans, h.Format.String(), h.MaxPixels,
	})
	return string(text), err
}

// ParseHeader reads what Header has written.
func ParseHeader(text []byte) (format.Header, error) {
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return format.Header{}, Damaged(err)
	}
	return format.Header{
		Format: format.Parse(h.Format), Width: h.Width, Height: h.Height, Pages: h.Pages,
		Orientation: h.Orientation, Alpha: h.Alpha, Animated: h.Animated,
		Color: format.Color(max(slices.Index(colors, h.Color), 0)),
		Bands: h.Bands, BitDepth: h.BitDepth, ICC: h.ICC, Location: h.Location, Scans: h.Scans,
		MaxPixels: h.MaxPixels,
	}, nil
}

// Image is an image as a later read gives it.
func Image(img asset.Image) asset.Image {
	img.Created = Time(img.Created.UnixMilli())
	if len(img.Tags) == 0 {
		img.Tags = nil
	}
	if len(img.Looks.ThumbHash) == 0 {
		img.Looks.ThumbHash = nil
	}
	return img
}

// newTask is a task.New as JSON: an id in its own JSON is for clients, and can't
// be read back without the mint; and arguments stay as they came.
type newTask struct {
	task.New
	Image []byte `json:"image,omitempty"`
	Args  string `json:"args"`
}

// New encodes a task that is to be submitted as JSON; nil is "".
func New(n *task.New) (string, error) {
	if n == nil {
		return "", nil
	}
	text, err := json.Marshal(newTask{New: *n, Image: ID(n.Image), Args: string(n.Args)})
	if err != nil {
		return "", fault.Wrap(fault.Internal, err, "a task can't be encoded")
	}
	return string(text), nil
}

// ParseNew reads what New has written; its owner stands in another column.
func ParseNew(text []byte, owner string) (*task.New, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var n newTask
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, Damaged(err)
	}
	n.New.Owner, n.New.Args = owner, json.RawMessage(n.Args)
	copy(n.New.Image[:], n.Image)
	return &n.New, nil
}

// ID is an id's bytes; empty, not nil, for the zero id.
func ID(id asset.ID) []byte {
	if id == (asset.ID{}) {
		return []byte{}
	}
	return id[:]
}

// Time is a time that is kept in milliseconds since 1970, in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Millis are the milliseconds of a time; 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// TimeOrZero is the time of which Millis are.
func TimeOrZero(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return Time(ms)
}
