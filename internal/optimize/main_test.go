package optimize

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"safelight/internal/codec"
	"safelight/internal/codec/worker"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// The test binary is its own codec process.
func TestMain(m *testing.M) {
	if os.Getenv("SAFELIGHT_CODEC_CHILD") != "" {
		os.Exit(worker.Main())
	}
	os.Exit(m.Run())
}

func openPool(t *testing.T) *codec.Pool {
	t.Helper()
	cfg := codec.DefaultConfig()
	cfg.Command, cfg.Processes, cfg.Background, cfg.Spares = []string{"/proc/self/exe"}, 2, 2, 0
	pool, err := codec.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

// scene has soft gradients, an edge, and noise; alpha below 255 in a corner
// where it is asked for.
func scene(w, h int, corner uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	rng := rand.New(rand.NewPCG(3, 5))
	for y := range h {
		for x := range w {
			v := 120 + 80*math.Sin(float64(x)/17+float64(y)/41) + 20*rng.Float64()
			c := color.NRGBA{uint8(v), uint8(v * 0.8), uint8(200 - v/2), 255}
			if math.Hypot(float64(x-w/2), float64(y-h/2)) < float64(h)/3 {
				c.R, c.G = c.G/2, c.R
			}
			if x < w/4 && y < h/4 {
				c.A = corner
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func asJPEG(t *testing.T, m image.Image, q int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: q}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// movie is an animated GIF.
func movie(t *testing.T) []byte {
	t.Helper()
	g := gif.GIF{}
	for i := range 3 {
		m := image.NewPaletted(image.Rect(0, 0, 48, 32), color.Palette{color.White, color.Black, color.RGBA{200, 30, 30, 255}})
		for y := range 32 {
			for x := range 48 {
				m.SetColorIndex(x, y, uint8((x+i*4)/8+y/8)%3)
			}
		}
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 10)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// apng is a PNG with the chunk that announces animation.
func apng(t *testing.T) []byte {
	t.Helper()
	b := asPNG(t, scene(16, 16, 255))
	chunk := append([]byte("acTL"), 0, 0, 0, 2, 0, 0, 0, 0)
	whole := binary.BigEndian.AppendUint32(nil, 8)
	whole = append(whole, chunk...)
	whole = binary.BigEndian.AppendUint32(whole, crc32.ChecksumIEEE(chunk))
	return slices.Insert(b, 33, whole...)
}

// put writes files into a directory of the test, by their names.
func put(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tree lists the regular files below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func config(target float64) Config {
	return Config{Plan: plan.DefaultConfig(), Search: plan.Search{Tier: quality.Balanced, Targets: quality.Targets{SSIMULACRA2: target}}, Parallel: 2}
}

// optimized finds and optimises, and gives the results by the last part of
// their names.
func optimized(t *testing.T, pool *codec.Pool, c Config, paths ...string) map[string]Result {
	t.Helper()
	sources, failures, err := Find(context.Background(), paths, c.Out)
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[string]Result)
	for _, r := range failures {
		results[filepath.Base(r.File)] = r
	}
	err = Run(context.Background(), pool, c, sources, func(r Result) error {
		results[filepath.Base(r.File)] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
