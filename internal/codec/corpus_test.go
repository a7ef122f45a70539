package codec

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
)

// corpus is the folder of public test files that lies beside the checkout.
func corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SAFELIGHT_CORPUS")
	for root := "."; dir == "" && len(root) < 40; root = filepath.Join(root, "..") {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			dir = filepath.Join(root, "..", "shared", "corpus")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.tsv")); err != nil {
		t.Skip("no corpus of test files; SAFELIGHT_CORPUS can name its folder")
	}
	return dir
}

// sniff is just enough to pick a loader.
func sniff(b []byte) format.Format {
	at := func(i int, s string) bool { return len(b) >= i+len(s) && string(b[i:i+len(s)]) == s }
	switch {
	case at(0, "\xff\xd8\xff"):
		return format.JPEG
	case at(0, "\x89PNG\r\n\x1a\n"):
		return format.PNG
	case at(0, "RIFF") && at(8, "WEBP"):
		return format.WebP
	case at(0, "GIF8"):
		return format.GIF
	case at(4, "ftypavi"), at(4, "ftypmif1") && bytes.Contains(b[:min(len(b), 64)], []byte("avif")):
		return format.AVIF
	case at(4, "ftyp"):
		return format.HEIC
	case at(0, "II*\x00"), at(0, "MM\x00*"):
		return format.TIFF
	}
	return format.Unknown
}

type entry struct {
	name, kind, expected string
	format               format.Format
	data                 []byte
}

func entries(t testing.TB) []entry {
	t.Helper()
	dir := corpus(t)
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(manifest)), "\n")
	column := map[string]int{}
	for i, name := range strings.Split(lines[0], "\t") {
		column[name] = i
	}
	var all []entry
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		b, err := os.ReadFile(filepath.Join(dir, f[column["file"]]))
		if err != nil {
			t.Fatal(err)
		}
		if kind := sniff(b); kind != format.Unknown {
			all = append(all, entry{f[column["file"]], f[column["kind"]], f[column["expected"]], kind, b})
		}
	}
	return all
}

// Every file that a loader takes is inspected and rendered, without the header
// gate that stands before this in a server. Whatever it holds, it gets a picture
// or an error in time, and the pool goes on.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	all := entries(t)
	cfg := testConfig()
	cfg.MemoryBytes = 512 << 20
	p := openPool(t, cfg)
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			load := plan.Load{Format: e.format, Pages: -1, Strict: true}
			for name, job := range map[string]plan.Job{
				"inspect": {Load: load, Steps: []plan.Step{{SRGB: true}}, Inspect: true},
				"render": {Load: plan.Load{Format: e.format},
					Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 200, H: 200}}}, {SRGB: true}},
					Save:  &plan.Save{Format: format.WebP, Quality: 75}},
			} {
				begin := time.Now()
				out, err := p.Run(context.Background(), Interactive, job, file(t, e.data))
				if took := time.Since(begin); took > 60*time.Second {
					t.Errorf("%s took %s", name, took)
				}
				if err == nil {
					out.Close()
					continue
				}
				switch fault.Of(err) {
				case fault.Unprocessable, fault.Timeout:
				default:
					t.Errorf("%s: %v: %v", name, fault.Of(err), err)
				}
				if e.kind == "valid" && !strings.Contains(e.expected, "422") {
					t.Errorf("%s of a valid picture: %v", name, err)
				} else {
					t.Logf("%s (%s: %s): %v", name, e.kind, e.expected, err)
				}
			}
		})
	}
	t.Cleanup(func() {
		mustRender(t, p)
		t.Logf("%+v", p.Stats())
	})
}

// A progressive JPEG of few bytes and many scans takes minutes to decode.
func TestScanBomb(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(corpus(t), "gen--jpeg-progressive-scan-bomb.jpg"))
	if err != nil {
		t.Skip(err)
	}
	cfg := single()
	cfg.CPUInteractive = 700 * time.Millisecond
	p := openPool(t, cfg)
	_, err = p.Run(context.Background(), Interactive, plan.Job{Load: plan.Load{Format: format.JPEG, Shrink: 8}, Inspect: true}, file(t, b))
	if fault.Of(err) != fault.Timeout {
		t.Error(err)
	}
	mustRender(t, p)
	if s := p.Stats(); s.CPUSeconds > 2 {
		t.Errorf("%+v", s)
	}
}
