package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"safelight/internal/format"
	"safelight/internal/optimize"
	"safelight/internal/quality"
)

func photo(t *testing.T, side int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.SetRGBA(x, y, color.RGBA{uint8(x * 255 / side), uint8(y * 255 / side), uint8((x ^ y) & 63), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ran runs the program in a directory that has the files, and gives its exit
// status and what it writes.
func ran(t *testing.T, dir string, args ...string) (status int, out, errs string) {
	t.Helper()
	cmd := program(dir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func program(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), childVar+"=1", "SAFELIGHT_CODEC_PROCESSES=2", "SAFELIGHT_CODEC_SPARES=0")
	return cmd
}

func pictures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	whole := photo(t, 96)
	for name, content := range map[string][]byte{"in/a.jpg": whole, "in/sub/b.jpg": photo(t, 64), "cut.jpg": whole[:700], "text.jpg": []byte("text"), "none/readme": nil} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOptimize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, args string
		status     int
		out        string // parts of what is said, with | between
		errs       string
		files      string // that are there afterwards
	}{
		{"only measured", "in", 0, "FILE |in/a.jpg |in/sub/b.jpg |jpeg |2 files: 2 optimised; |nothing was written (-o DIR or --in-place does)", "", ""},
		{"written", "in -o new/out", 0, "2 files: 2 optimised; ", "", "new/out/a.jpg new/out/sub/b.jpg"},
		{"other format", "in/a.jpg --format webp -o out --report r.html", 0, "1 file: 1 optimised; |webp ", "", "out/a.webp r.html"},
		{"one fails", "in/a.jpg cut.jpg text.jpg nope.jpg -o out", 1, "4 files: 1 optimised, 3 failed; ",
			"safelight: cut.jpg: the file is damaged|safelight: text.jpg: it is not a picture|safelight: nope.jpg: no such file", "out/a.jpg"},
		{"nothing in it", "none", 1, "1 file: 0 optimised, 1 failed", "safelight: none: there are no pictures in this directory", ""},
		{"in the way", "in/a.jpg -o in", 1, "1 failed", "safelight: in/a.jpg: ", ""},
		{"report in the way", "in --report none", 2, "", "--report: expected a name that ends in .html but received ", ""},
		{"no place for the report", "in --report nowhere/r.html", 1, "", "nowhere/r.html.part: no such file", ""},
		{"bad configuration", "in --config text.jpg", 1, "", "safelight: configuration ", ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := pictures(t)
			status, out, errs := ran(t, dir, append([]string{"optimize"}, strings.Fields(c.args)...)...)
			if status != c.status {
				t.Errorf("status %d; want %d", status, c.status)
			}
			for _, s := range []struct{ got, want string }{{out, c.out}, {errs, c.errs}} {
				for part := range strings.SplitSeq(s.want, "|") {
					if !strings.Contains(s.got, part) || s.want == "" && s.got != "" {
						t.Errorf("it says\n%s\nwithout %q", s.got, part)
					}
				}
			}
			if got := made(t, dir); got != c.files {
				t.Errorf("there are %q; want %q", got, c.files)
			}
		})
	}
}

// made lists the files that pictures did not make.
func made(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir+"/")
		if err == nil && !d.IsDir() && !strings.HasPrefix(name, "in/") && !strings.Contains(" cut.jpg text.jpg none/readme ", " "+name+" ") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestOptimizeJSON(t *testing.T) {
	t.Parallel()
	dir := pictures(t)
	status, out, errs := ran(t, dir, "optimize", "--json", "--format", "auto", "--target", "70", "in", "cut.jpg", "text.jpg")
	if status != 1 || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		t.Fatal(out)
	}
	for _, line := range lines[:4] {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err, line)
		}
		good := r["state"] == "failed" && r["error"] != "" && r["bytes"] == nil
		if strings.HasPrefix(r["file"].(string), "in/") {
			good = r["state"] == "optimized" && r["source_format"] == "jpeg" && r["bytes_before"].(float64) > r["bytes"].(float64) &&
				r["scores"].(map[string]any)["ssimulacra2"].(float64) >= 70 && r["met"] == true && r["cpu_seconds"].(float64) > 0 && r["output"] == nil
		}
		if !good {
			t.Error(line)
		}
	}
	var last struct {
		Summary optimize.Summary `json:"summary"`
		Written *bool            `json:"written"`
	}
	if err := json.Unmarshal([]byte(lines[4]), &last); err != nil {
		t.Fatal(err)
	}
	if s := last.Summary; s.Files != 4 || s.Optimized != 2 || s.Failed != 2 || s.Saved != s.Before-s.Bytes || s.Saved <= 0 || last.Written == nil || *last.Written {
		t.Errorf("%s", lines[4])
	}
}

// An interrupt leaves whole files only, and says so.
func TestOptimizeInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := photo(t, 300)
	for i := range 12 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	cmd := program(dir, "optimize", "--json", "--tier", "max", "--report", out+"/r.html", "-o", out, ".")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it has an exit status
	if status := cmd.ProcessState.ExitCode(); status != 130 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("status %d, %s", status, errs.String())
	}
	files, err := os.ReadDir(out)
	if err != nil || len(files) < 2 || len(files) > 12 {
		t.Errorf("there are %v, %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(out, f.Name()))
		if f.Name() == "r.html" {
			continue
		}
		if _, decoded := jpeg.Decode(bytes.NewReader(data)); err != nil || decoded != nil || strings.HasPrefix(f.Name(), ".") {
			t.Error(f.Name(), err, decoded)
		}
	}
}

// Who reads may leave: the work ends, and nothing is left half done.
func TestOptimizeUnread(t *testing.T) {
	t.Parallel()
	dir := pictures(t)
	cmd := program(dir, "optimize", "--json", "in", "--report", "r.html")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout = w
	err = cmd.Run()
	w.Close()
	if cmd.ProcessState.ExitCode() != 1 || made(t, dir) != "" {
		t.Errorf("%v; there are %s", err, made(t, dir))
	}
}

func TestSenselessOptimize(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", `expected "<file> ..."`},
		{"a --target x", `--target: expected a number such as 80, or floors such as ssimulacra2=86.9,butteraugli=0.8, but received "x"`},
		{"a --target 120", "--target: ssimulacra2 is a score from 10 to 99; received 120"},
		{"a --tier best", `--tier: expected fast, balanced or max but received "best"`},
		{"a --format heic", "--format: expected jpeg, webp, avif, png or auto but received heic"},
		{"a --in-place -o b", "give either -o or --in-place"},
		{"a --in-place --format auto", "--in-place keeps each file's format; leave out --format"},
		{"a --in-place --tier fast", "--in-place replaces only what was measured, and --tier fast measures nothing"},
	}
	for _, c := range tests {
		status, text := says(t, "optimize "+c.args)
		if want := "safelight optimize: " + c.want + "; see safelight optimize --help\n"; status != 2 || text != want {
			t.Errorf("%s: %d, %s; want %s", c.args, status, text, want)
		}
	}
}

func TestOptimizedRows(t *testing.T) {
	t.Parallel()
	results := []optimize.Result{
		{File: "a\x1b[31m\n\xff.jpg", State: optimize.Optimized, Before: 2_000_000, Bytes: 900_000, Ratio: 0.45, Format: format.JPEG,
			Scores: &quality.Scores{SSIMULACRA2: 80.14, Butteraugli: 1.234}, CPUSeconds: 2.06, Encoder: "safelight-jpeg 1", Settings: "4:4:4"},
		{File: strings.Repeat("d/", 40) + "b.png", State: optimize.Kept, Before: 100, Bytes: 100, Ratio: 1, Format: format.PNG, Reason: "png comes to 120 bytes"},
		{File: "c.png", State: optimize.Failed, Error: "broken"},
	}
	var b strings.Builder
	if err := columns(&b, optimizedRows(results, true), 0); err != nil {
		t.Fatal(err)
	}
	want := `FILE                                                          BEFORE  AFTER   RATIO    FORMAT  SSIMULACRA2  BUTTERAUGLI  CPU    ENCODER
a [31m �.jpg                                                  2.0 MB  900 kB  45.0 %   jpeg    80.1         1.23         2.1 s  safelight-jpeg 1 (4:4:4)
…d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/b.png  100 B   100 B   100.0 %  png                               0.0 s  kept: png comes to 120 bytes
`
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	results[0].Scores.Butteraugli = 0
	if err := columns(&b, optimizedRows(results, false), 0); err != nil || strings.Contains(b.String(), "BUTTER") || strings.Contains(b.String(), "…") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
