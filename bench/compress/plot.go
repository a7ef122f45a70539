package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"safelight/internal/format"
	"safelight/internal/quality"
)

// The plot's size and the frame in it, pixels.
const (
	plotWidth, plotHeight      = 760, 470
	left, right, top, bottom   = 70, 590, 60, 400
	lowestScore, highestScore  = 48, 92
	plotTitle                  = "Score and size of photographs about 500 px wide"
	pointNote, crossNote, foot = "guetzli, mean", "guetzli, each", "Lines are means over the photographs held back, and end where not all reach the score."
)

// line is one of the plot: points of bytes a pixel and score.
type line struct {
	name, class string
	at          [][2]float64
}

// plot draws score against bytes a pixel, as SVG that suits light and dark pages.
func plot(results []*result) string {
	lines := []line{
		curve(results, turboHalf, turboHalf, "turbo"),
		curve(results, way{format.JPEG, quality.Balanced}.String(), "Safelight, JPEG", "jpeg"),
		curve(results, way{format.WebP, quality.Balanced}.String(), "Safelight, WebP", "webp"),
		curve(results, way{format.AVIF, quality.Balanced}.String(), "Safelight, AVIF", "avif"),
	}
	points := guetzliPoints(results)
	c := newCanvas(lines, points)
	c.axes()
	c.add(`<g clip-path="url(#frame)">`)
	for _, p := range points {
		c.add(`<path class="one" d="M%.1f %.1fl6 6m0-6l-6 6"/>`, c.x(p[0])-3, c.y(p[1])-3)
	}
	for _, l := range lines {
		c.line(l)
	}
	if len(points) > 0 {
		m := middle(points)
		c.add(`<path class="guetzli" d="M%.1f %.1fl7 7l-7 7l-7-7z"/>`, c.x(m[0]), c.y(m[1])-7)
	}
	c.add(`</g>`)
	c.legend(lines)
	return c.String() + "</svg>\n"
}

// curve averages what photographs come to at each score that all reach.
func curve(results []*result, key, name, class string) line {
	l := line{name: name, class: class}
	for _, score := range scoresPlotted {
		var sizes []float64
		for _, r := range results {
			if at, ok := r.curves[key]; ok {
				sizes = append(sizes, at[score]/(r.megapixels()*1e6))
			}
		}
		if mean := geometric(sizes); len(sizes) > 0 && !math.IsNaN(mean) {
			l.at = append(l.at, [2]float64{mean, score})
		}
	}
	return l
}

// guetzliPoints are the same photographs by guetzli.
func guetzliPoints(results []*result) (points [][2]float64) {
	for _, r := range results {
		if r.plotted {
			points = append(points, [2]float64{float64(r.guetzli.bytes) / (r.megapixels() * 1e6), r.guetzli.scores.SSIMULACRA2})
		}
	}
	return points
}

func middle(points [][2]float64) [2]float64 {
	var sizes, scores []float64
	for _, p := range points {
		sizes, scores = append(sizes, p[0]), append(scores, p[1])
	}
	return [2]float64{geometric(sizes), mean(scores)}
}

// canvas is an SVG picture with a logarithmic axis of bytes a pixel.
type canvas struct {
	strings.Builder
	least, most float64 // bytes a pixel
}

func newCanvas(lines []line, points [][2]float64) *canvas {
	c := &canvas{least: math.Inf(1)}
	for _, l := range append(lines, line{at: points}) {
		for _, p := range l.at {
			c.least, c.most = min(c.least, p[0]), max(c.most, p[0])
		}
	}
	c.least, c.most = c.least*0.9, c.most*1.1
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`, plotWidth, plotHeight, plotTitle)
	c.WriteString(style)
	c.add(`<clipPath id="frame"><rect x="%d" y="%d" width="%d" height="%d"/></clipPath>`, left, top, right-left, bottom-top)
	c.add(`<rect class="page" width="%d" height="%d"/>`, plotWidth, plotHeight)
	return c
}

const style = `<style>
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 } .note { font-size: 12px; fill: #57606a }
.page { fill: #ffffff } .grid { stroke: #d8dee4; stroke-width: 1 } .frame { fill: none; stroke: #8c959f }
polyline { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.turbo { stroke: #6e7781; fill: #6e7781 } .jpeg { stroke: #0969da; fill: #0969da }
.webp { stroke: #1a7f37; fill: #1a7f37 } .avif { stroke: #8250df; fill: #8250df }
polyline.turbo, polyline.jpeg, polyline.webp, polyline.avif { fill: none }
.guetzli { fill: #bc4c00 } .one { fill: none; stroke: #bc4c00; stroke-width: 1.5; opacity: 0.55 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 }
.page { fill: #0d1117 } .grid { stroke: #2a313c } .frame { stroke: #656c76 }
.turbo { stroke: #9198a1; fill: #9198a1 } .jpeg { stroke: #4493f8; fill: #4493f8 }
.webp { stroke: #3fb950; fill: #3fb950 } .avif { stroke: #ab7df8; fill: #ab7df8 }
.guetzli { fill: #f0883e } .one { stroke: #f0883e }
}
</style>
`

func (c *canvas) add(text string, args ...any) { fmt.Fprintf(c, text+"\n", args...) }

func (c *canvas) x(bytes float64) float64 {
	return left + (right-left)*math.Log(bytes/c.least)/math.Log(c.most/c.least)
}

func (c *canvas) y(score float64) float64 {
	return bottom - (bottom-top)*(score-lowestScore)/(highestScore-lowestScore)
}

func (c *canvas) text(x, y float64, attributes, text string) {
	c.add(`<text x="%.1f" y="%.1f" %s>%s</text>`, x, y, attributes, html.EscapeString(text))
}

// axes draws the frame with its grid and labels.
func (c *canvas) axes() {
	c.text(left, 32, `class="title"`, plotTitle)
	for _, bytes := range []float64{0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1} {
		if bytes < c.least || bytes > c.most {
			continue
		}
		c.add(`<path class="grid" d="M%.1f %dV%d"/>`, c.x(bytes), top, bottom)
		c.text(c.x(bytes), bottom+18, `text-anchor="middle"`, fmt.Sprint(bytes))
	}
	for score := 50.0; score <= highestScore; score += 10 {
		c.add(`<path class="grid" d="M%d %.1fH%d"/>`, left, c.y(score), right)
		c.text(left-8, c.y(score)+4, `text-anchor="end"`, fmt.Sprint(score))
	}
	c.add(`<rect class="frame" x="%d" y="%d" width="%d" height="%d"/>`, left, top, right-left, bottom-top)
	c.text((left+right)/2, bottom+40, `text-anchor="middle"`, "bytes a pixel (logarithmic)")
	c.text(0, 0, fmt.Sprintf(`text-anchor="middle" transform="translate(24 %d) rotate(-90)"`, (top+bottom)/2), "SSIMULACRA2 (higher is better)")
	c.text(left, plotHeight-8, `class="note"`, foot)
}

func (c *canvas) line(l line) {
	var points strings.Builder
	for _, p := range l.at {
		fmt.Fprintf(&points, "%.1f,%.1f ", c.x(p[0]), c.y(p[1]))
		c.add(`<circle class="%s" cx="%.1f" cy="%.1f" r="3"/>`, l.class, c.x(p[0]), c.y(p[1]))
	}
	c.add(`<polyline class="%s" points="%s"/>`, l.class, strings.TrimSpace(points.String()))
}

func (c *canvas) legend(lines []line) {
	const from, step = right + 16, 24
	y := float64(top + 12)
	for i := range lines {
		l := lines[len(lines)-1-i] // as they lie, from the left
		c.add(`<polyline class="%s" points="%d,%.1f %d,%.1f"/>`, l.class, from, y-4, from+22, y-4)
		c.text(from+30, y, "", l.name)
		y += step
	}
	c.add(`<path class="guetzli" d="M%d %.1fl7 7l-7 7l-7-7z"/>`, from+11, y-11)
	c.text(from+30, y, "", pointNote)
	y += step
	c.add(`<path class="one" d="M%d %.1fl6 6m0-6l-6 6"/>`, from+8, y-7)
	c.text(from+30, y, "", crossNote)
}
