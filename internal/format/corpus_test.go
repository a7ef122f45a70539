package format

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
)

// corpusRow is one line of the corpus' MANIFEST.tsv.
type corpusRow map[string]string

// corpus finds the test pictures: beside the module, or where the environment
// says.
func corpus(t testing.TB) (dir string, rows []corpusRow) {
	t.Helper()
	dir = os.Getenv("SAFELIGHT_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	text, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Skipf("no corpus at %s (SAFELIGHT_CORPUS names another place): %v", dir, err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	names := strings.Split(lines[0], "\t")
	for _, line := range lines[1:] {
		row := corpusRow{}
		for i, v := range strings.Split(line, "\t") {
			row[names[i]] = v
		}
		rows = append(rows, row)
	}
	return dir, rows
}

// corpusExceptions are the columns in which a file's header is not what
// libvips 8.14 says of it, and why.
var corpusExceptions = map[string]map[string]string{
	// libheif 1.15 takes ispe, when associated after clap or irot, for the
	// final size, decodes to another, and so libvips fails on the pixels.
	// The header gives what a decoder that gets it right makes.
	"avif-sample-images--kimono.crop.avif":     {"dims": "385x330 after its clean aperture"},
	"avif-sample-images--kimono.rotate90.avif": {"dims": "722x1024 after its rotation"},
	// libjxl makes a profile of the colours that the file names.
	"small--jxl.jxl": {"icc": "0"},
}

func TestCorpus(t *testing.T) {
	dir, rows := corpus(t)
	for _, row := range rows {
		t.Run(row["file"], func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			h, err := Probe(bytes.NewReader(data), int64(len(data)))
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
			if Sniff(data) == Unknown {
				if fault.Of(err) != fault.Unsupported {
					t.Fatalf("unlisted format: %v", err)
				}
				return
			}
			if err != nil && fault.Of(err) != fault.Unprocessable {
				t.Fatalf("error of an unexpected kind: %v", err)
			}
			if strings.HasPrefix(row["kind"], "valid") && row["dims"] != "-" {
				if err != nil {
					t.Fatal(err)
				}
				compareRow(t, row, h)
			}
			t.Logf("%+v %v", h, err)
		})
	}
}

func compareRow(t *testing.T, row corpusRow, h Header) {
	t.Helper()
	digit := map[bool]string{false: "0", true: "1"}
	got := corpusRow{
		"dims":        strconv.Itoa(h.Width) + "x" + strconv.Itoa(h.Height),
		"pages":       strconv.Itoa(h.Pages),
		"alpha":       digit[h.Alpha],
		"orientation": strconv.Itoa(h.Orientation),
		"icc":         digit[h.ICC],
	}
	for column, v := range got {
		reason := corpusExceptions[row["file"]][column]
		if v != row[column] && reason == "" {
			t.Errorf("%s is %s; the manifest says %s", column, v, row[column])
		}
		if v == row[column] && reason != "" {
			t.Errorf("%s is as in the manifest; its exception is not needed: %s", column, reason)
		}
	}
}
