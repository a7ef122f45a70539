package vips

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if Open("", "vips-heif", "vips-no-such-module") != nil {
		os.Stderr.WriteString("skipped: no " + DefaultLibrary + "\n")
		return
	}
	os.Exit(m.Run())
}

func picture(t *testing.T, s *Scope) *Image {
	t.Helper()
	i, err := s.FromMemory([]byte{10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120}, 2, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Every kind of argument goes in and comes out.
func TestArguments(t *testing.T) {
	s := NewScope()
	defer s.Close()
	i := picture(t, s)
	if i.Width() != 2 || i.Height() != 2 || i.Bands() != 3 || i.Format() != Uchar || i.HasAlpha() {
		t.Errorf("%+v", i)
	}
	moved, err := s.Op("linear", i, Set("a", []float64{1, 2, 0.5}), Set("b", []float64{1}), Set("uchar", true)) // doubles, bool
	if err != nil {
		t.Fatal(err)
	}
	b, err := moved.Bytes()
	if err != nil || !bytes.Equal(b[:3], []byte{11, 41, 16}) {
		t.Error(b, err)
	}
	var average float64
	if err := s.Call("avg", Set("in", i), Get("out", &average)); err != nil || average != 65 {
		t.Error(average, err)
	}
	var point []float64
	if err := s.Call("getpoint", Set("in", i), Set("x", 1), Set("y", 0), Get("out-array", &point)); err != nil || len(point) != 3 || point[2] != 60 {
		t.Error(point, err)
	}
	var joined *Image
	if err := s.Call("bandjoin", Set("in", []*Image{i, i}), Get("out", &joined)); err != nil || joined.Bands() != 6 { // images
		t.Error(err)
	}
	turned, err := s.Op("rot", i, Set("angle", "d180")) // nickname
	if err != nil {
		t.Fatal(err)
	}
	if b, err := turned.Bytes(); err != nil || b[0] != 100 {
		t.Error(b, err)
	}
	cast, err := s.Op("cast", i, Set("format", Float)) // enum by number
	if err != nil || cast.Format() != Float {
		t.Error(err)
	}
	matrix, err := s.Matrix([]float64{1, 0, 0, 0, 1, 0, 0, 0, 0}, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Op("recomb", i, Set("m", matrix)); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreErrors(t *testing.T) {
	s := NewScope()
	defer s.Close()
	i := picture(t, s)
	var text string
	for name, err := range map[string]error{
		"no such operation": s.Call("no_such_operation"),
		"no such argument":  s.Call("invert", Set("in", i), Set("colour", 3)),
		"wrong type":        s.Call("invert", Set("in", "a string")),
		"no such nickname":  s.Call("rot", Set("in", i), Set("angle", "d45")),
		"missing argument":  s.Call("invert"),
		"wrong result":      s.Call("avg", Set("in", i), Get("out", &text)),
		"a Go type":         s.Call("invert", Set("in", struct{}{})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var e *Error
	if err := s.Call("invert"); !errors.As(err, &e) || e.Operation != "invert" || strings.Contains(e.Text, "d45") {
		t.Errorf("the error is %v, and holds what failed before", err)
	}
	if Has("no_such_operation") || !Has("invert") {
		t.Error("Has is wrong")
	}
}

func TestClosedScope(t *testing.T) {
	s := NewScope()
	i := picture(t, s)
	s.Close()
	if _, err := s.Op("invert", i); err == nil {
		t.Error("a freed image was used")
	}
	if _, err := i.Bytes(); err == nil {
		t.Error("a freed image was read")
	}
	if _, err := s.CopyMemory(i); err == nil {
		t.Error("a freed image was copied")
	}
}

func TestMetadata(t *testing.T) {
	s := NewScope()
	defer s.Close()
	i, err := s.Op("copy", picture(t, s))
	if err != nil {
		t.Fatal(err)
	}
	i.SetInt("orientation", 6)
	i.SetInts("delay", []int{1, 2, 3})
	i.SetBlob("icc-profile-data", []byte("profile"))
	if v, ok := i.Int("orientation"); !ok || v != 6 {
		t.Error(v, ok)
	}
	if v := i.Ints("delay"); len(v) != 3 || v[2] != 3 {
		t.Error(v)
	}
	if v := i.Blob("icc-profile-data"); string(v) != "profile" {
		t.Error(v)
	}
	if v, ok := i.Int("delay"); ok {
		t.Error("a list was read as a number:", v)
	}
	if !strings.Contains(strings.Join(i.Fields(), " "), "orientation") {
		t.Error(i.Fields())
	}
	i.Remove("orientation")
	i.Remove("no such field")
	if i.Has("orientation") {
		t.Error("a removed field is there")
	}
}

func TestUntrustedIsBlocked(t *testing.T) {
	BlockUntrusted(true)
	Block("VipsForeignLoad", true)
	Block("VipsForeignLoadPngSource", false)
	s := NewScope()
	defer s.Close()
	f, err := os.CreateTemp(t.TempDir(), "source")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	target, err := s.TargetFD(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Call("pngsave_target", Set("in", picture(t, s)), Set("target", target)); err != nil {
		t.Fatal(err)
	}
	source, err := s.SourceFD(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	var out *Image
	if err := s.Call("pngload_source", Set("source", source), Get("out", &out)); err != nil {
		t.Error("the loader that was let in is not:", err)
	}
	if err := s.Call("tiffload_source", Set("source", source), Get("out", &out)); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Error("a loader that was not let in answers", err)
	}
}

// The library is loaded once, without the modules that nobody asked for, and
// the program itself is not linked against it.
func TestLoading(t *testing.T) {
	if err := Open("libvips-other.so"); err == nil {
		t.Error("a second library was loaded")
	}
	if err := Open(""); err != nil {
		t.Error(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for _, part := range []string{"Magick", "poppler", "openslide"} {
		if bytes.Contains(maps, []byte(part)) {
			t.Errorf("%s is in the process", part)
		}
	}
	if out, err := exec.Command("ldd", "/proc/self/exe").CombinedOutput(); err == nil && bytes.Contains(out, []byte("vips")) {
		t.Errorf("the program is linked against libvips:\n%s", out)
	}
	versions := map[string]string{}
	for _, c := range Codecs() {
		versions[c.Name] = c.Version
	}
	for _, name := range []string{"jpeg", "webp", "lcms2", "tiff"} {
		if v := versions[name]; v == "" || v == "unknown" {
			t.Errorf("no version of %s in %v", name, versions)
		}
	}
}
