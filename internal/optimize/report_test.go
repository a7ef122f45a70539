package optimize

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// node is an element of a page, with its attributes and the text right in it.
type node struct {
	name string
	attr map[string]string
	text string
}

// parsed reads a page, which is written so that it is XML as well.
func parsed(t *testing.T, page []byte) []*node {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.Entity = false, xml.HTMLEntity
	var all, open []*node
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			n := &node{name: x.Name.Local, attr: make(map[string]string)}
			for _, a := range x.Attr {
				n.attr[a.Name.Local] = a.Value
			}
			all, open = append(all, n), append(open, n)
		case xml.EndElement:
			if open[len(open)-1].name != x.Name.Local {
				t.Fatalf("%s is closed within %s", x.Name.Local, open[len(open)-1].name)
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(x)
			}
		}
	}
	if len(open) > 0 {
		t.Fatalf("%s is not closed", open[0].name)
	}
	return all
}

// known are the elements and attributes that a page has.
var known = map[string]string{
	"html": "lang", "head": "", "meta": "charset http-equiv content name", "title": "", "style": "", "body": "", "header": "", "h1": "", "p": "class",
	"main": "", "section": "class", "h2": "", "div": "class", "img": "class width height alt src", "input": "type min max step value aria-label class",
	"span": "", "label": "", "dl": "", "dt": "", "dd": "", "script": "",
}

func written(t *testing.T, c Config, results ...Result) (raw []byte, nodes []*node) {
	t.Helper()
	var b bytes.Buffer
	if err := c.Report.Write(&b, c, results); err != nil {
		t.Fatal(err)
	}
	nodes = parsed(t, b.Bytes())
	for _, n := range nodes {
		allowed, ok := known[n.name]
		if !ok {
			t.Errorf("there is an element %s", n.name)
		}
		for name := range n.attr {
			if !strings.Contains(" "+allowed+" ", " "+name+" ") {
				t.Errorf("%s has an attribute %s", n.name, name)
			}
		}
	}
	return b.Bytes(), nodes
}

func TestReport(t *testing.T) {
	t.Parallel()
	hostile := `"><img src=x onerror=alert(1)>&amp;<script>alert(2)<` + "\xff\x1b\n" + `.jpg`
	dir := put(t, map[string][]byte{hostile: asJPEG(t, scene(160, 120, 255), 98), "cut.jpg": asJPEG(t, scene(64, 64, 255), 90)[:500]})
	c := config(80)
	c.Report = NewReport()
	sources, _, err := Find(context.Background(), []string{dir}, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Out = t.TempDir()
	var results []Result
	if err := Run(context.Background(), openPool(t), c, sources, func(r Result) error { results = append(results, r); return nil }); err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	raw, nodes := written(t, c, results...)
	var images, ranges, headings int
	for _, n := range nodes {
		switch {
		case n.name == "img":
			images++
			data, ok := strings.CutPrefix(n.attr["src"], "data:image/jpeg;base64,")
			file, err := base64.StdEncoding.DecodeString(data)
			if !ok || err != nil || n.attr["width"] != "160" || n.attr["height"] != "120" {
				t.Errorf("%.80s, %v", n.attr["src"], err)
			}
			want := read(t, dir, hostile)
			if n.attr["class"] == "after" {
				want = read(t, c.Out, hostile)
			}
			if !bytes.Equal(file, want) {
				t.Errorf("%s is another file", n.attr["class"])
			}
		case n.name == "input" && n.attr["type"] == "range":
			ranges++
		case n.name == "h2" && strings.Contains(n.text, `"><img src=x onerror=alert(1)>&amp;<script>alert(2)<`):
			headings++
		}
	}
	if images != 2 || ranges != 1 || headings != 1 {
		t.Errorf("there are %d images, %d ranges, and %d headings with the name", images, ranges, headings)
	}
	for _, bad := range []string{"http://", "https://", "@import", "url("} {
		if strings.Contains(string(raw), bad) {
			t.Errorf("it has %s", bad)
		}
	}
	for _, want := range []string{"damaged", "2 files: 1 optimised, 1 failed", "Target 80, tier balanced"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("it does not say %s", want)
		}
	}
}

// The policy lets the page's own style and script work, and nothing else.
func TestReportPolicy(t *testing.T) {
	t.Parallel()
	c := config(80)
	c.Report = NewReport()
	_, nodes := written(t, c)
	policy := ""
	text := make(map[string]string)
	for _, n := range nodes {
		text[n.name] = n.text
		if n.attr["http-equiv"] == "Content-Security-Policy" {
			policy = n.attr["content"]
		}
	}
	for _, want := range []string{"default-src 'none'", "img-src data:", "style-src '" + hash(text["style"]) + "'", "script-src '" + hash(text["script"]) + "'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %s lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || len(text["script"]) < 100 || len(text["style"]) < 100 {
		t.Error(policy)
	}
}

func TestReportBounds(t *testing.T) {
	t.Parallel()
	r := NewReport()
	if r.reserve(mostShown+1, 1) || r.reserve(1, mostShown+1) {
		t.Error("a large file is taken")
	}
	for range reportBytes / (2 * mostShown) {
		if !r.reserve(mostShown, mostShown) {
			t.Fatal("there is no room")
		}
	}
	if r.reserve(1, 0) {
		t.Error("there is more room than there should be")
	}

	dir := put(t, map[string][]byte{"a.jpg": asJPEG(t, scene(64, 64, 255), 98)})
	c := config(80)
	c.Report = r
	result := optimized(t, openPool(t), c, dir)["a.jpg"]
	raw, nodes := written(t, c, result)
	for _, n := range nodes {
		if n.name == "img" {
			t.Error("a picture is shown")
		}
	}
	if !strings.Contains(string(raw), "1 of the files are not shown: a picture may have 2.1 MB here, all together 67.1 MB") || !strings.Contains(string(raw), "too large to be shown") {
		t.Errorf("%s", raw)
	}
}

// A page may be passed on: where a photo was taken stays out of it.
func TestReportHasNoLocation(t *testing.T) {
	corpus := os.Getenv("SAFELIGHT_CORPUS")
	if corpus == "" {
		corpus = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	source, err := os.ReadFile(filepath.Join(corpus, "exif-samples--DSCN0010.jpg"))
	if err != nil {
		t.Skip("the corpus is not there:", err)
	}
	t.Parallel()
	dir := put(t, map[string][]byte{"a.jpg": source})
	c := Config{Plan: plan.DefaultConfig(), Search: plan.Search{Tier: quality.Fast, Targets: quality.Targets{SSIMULACRA2: 40}}, Parallel: 1, Report: NewReport()}
	result := optimized(t, openPool(t), c, dir)["a.jpg"]
	_, nodes := written(t, c, result)
	seen := 0
	for _, n := range nodes {
		if n.name != "img" {
			continue
		}
		seen++
		file, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(n.attr["src"], "data:image/jpeg;base64,"))
		if err != nil {
			t.Fatal(err)
		}
		if h, err := format.Probe(bytes.NewReader(file), int64(len(file))); err != nil || h.Location {
			t.Errorf("%s: %+v, %v", n.attr["class"], h, err)
		}
	}
	if h, err := format.Probe(bytes.NewReader(source), int64(len(source))); err != nil || !h.Location || seen != 2 {
		t.Errorf("%+v, %v; %d are shown (%+v)", h, err, seen, result)
	}
}
