package optimize

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"safelight/internal/format"
	"safelight/internal/scrub"
)

// What a report holds at most, bytes of picture files.
const (
	mostShown   = 2 << 20  // of one
	reportBytes = 64 << 20 // of all together
)

var (
	//go:embed page/report.html
	reportHTML string
	//go:embed page/report.css
	reportCSS string
	//go:embed page/report.js
	reportJS string

	reportPage = template.Must(template.New("report").Parse(reportHTML))
)

// Report collects what a page that compares sources and results shows. It holds
// the pictures in memory, within bounds. Make it with NewReport.
type Report struct {
	mu    sync.Mutex
	left  int64 // of reportBytes
	pairs map[string]pair
}

// pair is a source and its result, or why they are not shown.
type pair struct {
	before, after template.URL
	why           string
	over          bool // it is because of their size
}

// NewReport makes an empty report.
func NewReport() *Report { return &Report{left: reportBytes, pairs: make(map[string]pair)} }

// add takes the pictures of a result. A nil report takes none.
func (r *Report) add(result Result, p *picture, m made) {
	if r == nil {
		return
	}
	pair := r.show(p, m)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pairs[result.File] = pair
}

func (r *Report) show(p *picture, m made) pair {
	from, before := p.header.Format, p.info.Size()
	switch {
	case from == format.TIFF || from == format.HEIC:
		return pair{why: fmt.Sprintf("Few browsers show %s, so the pictures are not compared here.", from)}
	case !r.reserve(before, m.Bytes):
		return pair{over: true, why: "The pictures are too large to be shown here."}
	}
	// The page may be passed on, so the place where a photo was taken stays out of it.
	patches, err := scrub.Plan(p.file, before, from)
	if err != nil {
		return pair{why: "The source is not shown, since its location can't be taken out: " + describe(err)}
	}
	source, err := io.ReadAll(scrub.NewReader(p.file, before, patches))
	if err != nil {
		return pair{why: "The source could not be read again: " + describe(err)}
	}
	result, err := io.ReadAll(io.NewSectionReader(m.File, 0, m.Bytes))
	if err != nil {
		return pair{why: "The result could not be read again: " + describe(err)}
	}
	return pair{before: dataURL(from, source), after: dataURL(m.format, result)}
}

// reserve takes room for two files, if there is so much.
func (r *Report) reserve(a, b int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a > mostShown || b > mostShown || a+b > r.left {
		return false
	}
	r.left -= a + b
	return true
}

func dataURL(f format.Format, data []byte) template.URL {
	return template.URL("data:" + f.MIME() + ";base64," + base64.StdEncoding.EncodeToString(data))
}

// fact is a line beside the pictures.
type fact struct{ Name, Text string }

type shown struct {
	File          string
	State         State
	Width, Height int
	Before, After template.URL
	Why           string
	Facts         []fact
}

type page struct {
	Policy, Summary, Target, Tier, Format string
	Style                                 template.CSS
	Script                                template.JS
	Files                                 []shown
	Left                                  int
	Most, Budget                          string
}

// Write writes the page: one HTML file that asks for nothing else and may run
// nothing but its own script. Names of files are text in it, whatever they are.
func (r *Report) Write(w io.Writer, c Config, results []Result) error {
	p := page{
		Policy: fmt.Sprintf("default-src 'none'; img-src data:; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hash(reportCSS), hash(reportJS)),
		Style:  template.CSS(reportCSS), Script: template.JS(reportJS),
		Summary: Sum(results).String(), Target: c.Search.Targets.String(), Tier: string(c.Search.Tier), Format: c.formatName(),
		Most: Size(mostShown), Budget: Size(reportBytes),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range results {
		pair := r.pairs[result.File]
		if pair.over {
			p.Left++
		}
		p.Files = append(p.Files, shown{
			File: legible(result.File), State: result.State, Width: result.Width, Height: result.Height,
			Before: pair.before, After: pair.after, Why: pair.why, Facts: facts(result),
		})
	}
	return reportPage.Execute(w, p)
}

// legible is text without what is no character; names of files can hold anything.
func legible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text) // which makes invalid bytes the same
}

// hash is how a content security policy names a text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (c Config) formatName() string {
	switch {
	case c.Auto:
		return "auto"
	case c.Format == format.Unknown:
		return "of the source"
	}
	return c.Format.String()
}

// facts are what is known of a file, in words.
func facts(r Result) []fact {
	list := []fact{{"State", string(r.State)}}
	add := func(when bool, name, text string, args ...any) {
		if when {
			list = append(list, fact{name, legible(fmt.Sprintf(text, args...))})
		}
	}
	add(r.Error != "", "Error", "%s", r.Error)
	add(r.Reason != "", "Reason", "%s", r.Reason)
	add(r.Width > 0, "Size", "%d × %d px", r.Width, r.Height)
	add(r.Before > 0, "Before", "%d bytes, %s", r.Before, r.SourceFormat)
	add(r.State == Optimized, "After", "%d bytes, %s", r.Bytes, r.Format)
	add(r.State == Optimized, "Ratio", "%.1f %%", 100*r.Ratio)
	if r.Scores != nil {
		add(true, "SSIMULACRA2", "%.2f", r.Scores.SSIMULACRA2)
		add(r.Scores.Butteraugli > 0, "Butteraugli", "%.3f", r.Scores.Butteraugli)
	}
	add(r.Encoder != "", "Encoder", "%s", r.Encoder)
	add(r.Settings != "", "Settings", "%s", r.Settings)
	add(r.Trials > 0, "Trials", "%d", r.Trials)
	add(r.CPUSeconds > 0, "Processor time", "%.2f s", r.CPUSeconds)
	for _, w := range r.Warnings {
		add(true, "Note", "%s", w)
	}
	return list
}
