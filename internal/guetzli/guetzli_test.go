package guetzli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/fault"
)

// The test binary launches the program, as the server's does, and is a server
// of its own where one has to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == LaunchArgument {
		os.Exit(Launch(os.Args[2:]))
	}
	if os.Getenv(doomedVar) != "" {
		os.Exit(doomed())
	}
	goleak.VerifyTestMain(m)
}

// picture is a PNG with smooth parts and some noise.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(7, 1))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x*4 + r.IntN(9)), uint8(y*4 + r.IntN(9)), uint8(x*y/16 + r.IntN(9)), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// opened puts bytes in a file, and leaves its position at the end.
func opened(t testing.TB, b []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "picture")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

func encoder(t testing.TB, change func(*Config)) *Encoder {
	t.Helper()
	if _, err := exec.LookPath("guetzli"); err != nil {
		t.Skip("guetzli is not installed (scripts/setup test)")
	}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	e, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wrapped is a shell script in the program's place: what New asks it answers as
// guetzli does, and for a picture it does what body says.
func wrapped(t testing.TB, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guetzli")
	text := "#!/bin/sh\n[ $# -gt 0 ] || { echo Guetzli JPEG compressor >&2; exit 1; }\n" + body + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEncode(t *testing.T) {
	t.Parallel()
	e := encoder(t, nil)
	source := picture(t, 64, 64)
	r, err := e.Encode(t.Context(), opened(t, source), 64*64, 90)
	if err != nil {
		t.Fatal(err)
	}
	defer r.File.Close()
	b, err := io.ReadAll(r.File)
	if err != nil || int64(len(b)) != r.Bytes || len(b) >= len(source) {
		t.Errorf("%d bytes (%d) of %d: %v", len(b), r.Bytes, len(source), err)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil || img.Bounds() != image.Rect(0, 0, 64, 64) {
		t.Fatalf("%v %v", img.Bounds(), err)
	}
	if red, green, _, _ := img.At(32, 16).RGBA(); red>>8 < 108 || red>>8 > 164 || green>>8 < 44 || green>>8 > 100 {
		t.Errorf("another picture: red %d, green %d", red>>8, green>>8)
	}
	if r.CPU <= 0 {
		t.Errorf("%s of processor time", r.CPU)
	}
	if _, err := r.File.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the result can be changed")
	}
}

func TestQuality(t *testing.T) {
	t.Parallel()
	source := picture(t, 48, 48)
	size := func(configured, own int) int64 {
		e := encoder(t, func(c *Config) { c.Quality = configured })
		r, err := e.Encode(t.Context(), opened(t, source), 48*48, own)
		if err != nil {
			t.Fatal(err)
		}
		defer r.File.Close()
		return r.Bytes
	}
	low, high := size(0, 84), size(0, 100)
	if low >= high {
		t.Errorf("quality 84: %d bytes, 100: %d bytes", low, high)
	}
	if n := size(0, 10); n != low {
		t.Errorf("quality 10 is not raised to 84: %d bytes, not %d", n, low)
	}
	if n := size(100, 84); n != high {
		t.Errorf("the setting does not go over the rendition's: %d bytes, not %d", n, high)
	}
	e := encoder(t, nil)
	if r, err := e.Encode(t.Context(), opened(t, source), 48*48, 1000); err != nil {
		t.Error(err)
	} else {
		r.File.Close()
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	small := picture(t, 64, 64)
	for name, c := range map[string]struct {
		picture []byte
		pixels  int64
		script  string
		change  func(*Config)
		kind    fault.Kind
		code    string
		cause   string // a part of it
	}{
		"too many pixels": {picture: small, pixels: 4097, change: func(c *Config) { c.MaxPixels = 4096 },
			kind: fault.TooLarge, code: "limit-exceeded"},
		"no picture": {picture: []byte("this is no picture"), pixels: 1,
			kind: fault.Unprocessable, code: "guetzli-failed", cause: "Error reading JPG"},
		"empty":     {pixels: 1, kind: fault.Unprocessable, code: "guetzli-failed"},
		"truncated": {picture: small[:len(small)/2], pixels: 4096, kind: fault.Unprocessable, code: "guetzli-failed", cause: "Error reading PNG"},
		"deadline": {picture: picture(t, 1000, 1000), pixels: 1_000_000, change: func(c *Config) { c.Deadline = 200 * time.Millisecond },
			kind: fault.Timeout, cause: "killed"},
		"processor time": {picture: small, pixels: 4096, script: "while :; do :; done", change: func(c *Config) { c.Deadline = time.Second },
			kind: fault.Timeout},
		"memory foreseen": {picture: picture(t, 640, 640), pixels: 640 * 640, change: func(c *Config) { c.MemoryBytes = 100 << 20 },
			kind: fault.Unprocessable, code: "needs-memory", cause: "Memory limit"},
		"memory limited": {picture: picture(t, 640, 640), pixels: 640 * 640, script: `exec guetzli --nomemlimit "$5" "$6"`,
			change: func(c *Config) { c.MemoryBytes = 100 << 20 },
			kind:   fault.Unprocessable, code: "needs-memory", cause: "insufficient memory"},
		"output too long": {picture: small, pixels: 4096, script: `head -c 2000000 /dev/zero >"$6"`,
			kind: fault.Unprocessable, code: "guetzli-failed", cause: "File size limit"},
		"no output":      {picture: small, pixels: 4096, script: ":", kind: fault.Unprocessable, code: "guetzli-failed", cause: "0 bytes"},
		"no JPEG":        {picture: small, pixels: 4096, script: `cp "$5" "$6"`, kind: fault.Unprocessable, code: "guetzli-failed", cause: "begins with 89504e"},
		"killed":         {picture: small, pixels: 4096, script: "kill -9 $$", kind: fault.Unavailable},
		"crash":          {picture: small, pixels: 4096, script: "kill -SEGV $$", kind: fault.Unprocessable, code: "guetzli-failed", cause: "segmentation fault"},
		"SIGXCPU":        {picture: small, pixels: 4096, script: "kill -XCPU $$", kind: fault.Timeout},
		"much is said":   {picture: small, pixels: 4096, script: `i=0; while [ $i -lt 9999 ]; do echo line $i >&2; i=$((i+1)); done; exit 3`, kind: fault.Unprocessable, code: "guetzli-failed", cause: "line 9998"},
		"input is kept":  {picture: small, pixels: 4096, script: `(echo x >>"$5") && exit 0; echo refused >&2; exit 1`, kind: fault.Unprocessable, code: "guetzli-failed", cause: "refused"},
		"leaves a child": {picture: small, pixels: 4096, script: `sleep 3 & exit 5`, kind: fault.Unprocessable, code: "guetzli-failed", cause: "exit status 5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := encoder(t, func(cfg *Config) {
				if c.script != "" {
					cfg.Path = wrapped(t, c.script)
				}
				if c.change != nil {
					c.change(cfg)
				}
			})
			r, err := e.Encode(t.Context(), opened(t, c.picture), c.pixels, 84)
			if r != nil {
				r.File.Close()
			}
			if err == nil || fault.Of(err) != c.kind || fault.As(err).Code != c.code {
				t.Fatalf("%v, kind %s", err, fault.Of(err))
			}
			if !strings.Contains(err.Error(), c.cause) {
				t.Errorf("the cause does not tell %q: %v", c.cause, err)
			}
			if f := fault.As(err); strings.Contains(f.Message, "/") || f.Cause != nil && len(f.Cause.Error()) > tailBytes+200 {
				t.Errorf("message %q, %d bytes of cause", f.Message, len(f.Cause.Error()))
			}
		})
	}
}

// What the program finds itself in, as it sees it.
func TestConfinement(t *testing.T) {
	t.Parallel()
	seen := filepath.Join(t.TempDir(), "seen")
	e := encoder(t, func(c *Config) {
		c.Path = wrapped(t, fmt.Sprintf(`exec >%s; cat /proc/self/limits /proc/self/status; echo env; tr '\0' '\n' </proc/$$/environ; echo end
			ls -l /proc/$$/fd; echo nice $(nice); echo pgid $(($(cut -d' ' -f5 /proc/$$/stat) - $$)); pwd; echo $*; exit 1`, seen))
		c.MemoryBytes, c.Deadline = 123<<20, 90*time.Second
	})
	if _, err := e.Encode(t.Context(), opened(t, []byte("x")), 1000, 95); fault.Of(err) != fault.Unprocessable {
		t.Fatal(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(b)), " ")
	for _, want := range []string{
		"Max address space 128974848 128974848 bytes", "Max cpu time 90 91 seconds", "Max file size 1052576 1052576 bytes",
		"Max core file size 0 0 bytes", "NoNewPrivs: 1", "env end", "nice 10", "pgid 0", " 0 -> /dev/null",
		"3 -> /memfd:guetzli-input (deleted)", "4 -> /memfd:guetzli-output (deleted)", "/ --quality 95 --memlimit 123 ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, b)
		}
	}
	if strings.Contains(text, " 5 -> ") || strings.Contains(text, "socket:") {
		t.Errorf("more descriptors than it needs:\n%s", b)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	fifo := fifo(t)
	e := encoder(t, func(c *Config) { c.Path = wrapped(t, "echo $$ >"+fifo+"; sleep 600; :") })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(fifo) // until the script is there
		cancel()
	}()
	if _, err := e.Encode(ctx, opened(t, nil), 1, 84); fault.Of(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, kind %s", err, fault.Of(err))
	}
	if _, err := e.Encode(ctx, opened(t, nil), 1, 84); fault.Of(err) != fault.Canceled {
		t.Errorf("canceled before: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := e.Encode(ctx, opened(t, nil), 1, 84); fault.Of(err) != fault.Timeout {
		t.Errorf("the caller's own deadline: %v", err)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	e := encoder(t, nil)
	var all sync.WaitGroup
	for i := range 6 {
		side := 16 + 8*i
		source := opened(t, picture(t, side, side))
		all.Go(func() {
			r, err := e.Encode(t.Context(), source, int64(side*side), 84)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.File.Close()
			if c, err := jpeg.DecodeConfig(r.File); err != nil || c.Width != side {
				t.Errorf("side %d: %v %v", side, c, err)
			}
		})
	}
	all.Wait()
}

func TestNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notELF := filepath.Join(dir, "data")
	if err := os.WriteFile(notELF, []byte("\x7fELF and nothing else"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":         {"guetzli-that-is-not-there", "not there"},
		"missing path":    {filepath.Join(dir, "guetzli"), "not there"},
		"no program":      {notELF, "can't be started"},
		"another program": {"/bin/true", "does not answer"},
	} {
		cfg := DefaultConfig()
		cfg.Path = c.path
		if _, err := New(cfg, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := encoder(t, nil).Version(); !strings.HasPrefix(v, "guetzli sha256:") || len(v) != len("guetzli sha256:")+12 {
		t.Errorf("version %q", v)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"path":         func(c *Config) { c.Path = "" },
		"max_pixels":   func(c *Config) { c.MaxPixels = 0 },
		"memory_bytes": func(c *Config) { c.MemoryBytes = 1 << 20 },
		"deadline":     func(c *Config) { c.Deadline = 0 },
		"quality":      func(c *Config) { c.Quality = 83 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "guetzli."+name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
}
