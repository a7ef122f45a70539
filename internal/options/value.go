package options

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"safelight/internal/geom"
)

// The parsers below answer an error that says what a value must look like; the
// caller puts the parameter's name before it.

func parseInt(s string, low, high int) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil || v < low || v > high {
		return 0, fmt.Errorf("expected a whole number from %d to %d but received %q", low, high, clip(s))
	}
	return v, nil
}

// parseFloat takes a number, kept to four decimals so that it prints as it was read.
func parseFloat(s string, low, high float64) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < low || v > high || strings.ContainsAny(s, "xXpP_") {
		return 0, fmt.Errorf("expected a number from %s to %s but received %q", number(low), number(high), clip(s))
	}
	return math.Abs(math.Round(v*1e4)) / 1e4, nil // no range goes below 0, but -0 is in it
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func parseBool(s string) (bool, error) {
	switch s {
	case "", "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("expected 1 or 0 but received %q", clip(s))
}

func parseInts(s string, n, low, high int) ([]int, error) {
	parts := strings.Split(s, ",")
	if len(parts) != n {
		return nil, fmt.Errorf("expected %d whole numbers with commas between but received %q", n, clip(s))
	}
	out := make([]int, n)
	for i, p := range parts {
		v, err := parseInt(p, low, high)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// clip keeps what strangers sent short in messages.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

var points = []struct {
	name string
	at   geom.Gravity
}{
	{"center", geom.Gravity{X: 0.5, Y: 0.5}},
	{"north", geom.Gravity{X: 0.5, Y: 0}},
	{"northeast", geom.Gravity{X: 1, Y: 0}},
	{"east", geom.Gravity{X: 1, Y: 0.5}},
	{"southeast", geom.Gravity{X: 1, Y: 1}},
	{"south", geom.Gravity{X: 0.5, Y: 1}},
	{"southwest", geom.Gravity{X: 0, Y: 1}},
	{"west", geom.Gravity{X: 0, Y: 0.5}},
	{"northwest", geom.Gravity{X: 0, Y: 0}},
}

const gravityForm = "center, north, northeast, east, southeast, south, southwest, west, northwest, or a focal point x,y of two fractions from 0 to 1"

func parseGravity(s string, smart bool) (*geom.Gravity, error) {
	for _, p := range points {
		if p.name == s {
			at := p.at
			return &at, nil
		}
	}
	if smart && s == "smart" {
		return &geom.Gravity{X: 0.5, Y: 0.5, Smart: true}, nil
	}
	if xs, ys, ok := strings.Cut(s, ","); ok {
		x, xerr := parseFloat(xs, 0, 1)
		y, yerr := parseFloat(ys, 0, 1)
		if xerr == nil && yerr == nil {
			return &geom.Gravity{X: x, Y: y}, nil
		}
	}
	form := gravityForm
	if smart {
		form = "smart, " + form
	}
	return nil, fmt.Errorf("expected %s but received %q", form, clip(s))
}

func printGravity(g *geom.Gravity) string {
	if g == nil {
		return ""
	}
	if g.Smart {
		return "smart"
	}
	for _, p := range points {
		if p.at == *g {
			return p.name
		}
	}
	return number(g.X) + "," + number(g.Y)
}

var named = map[string]Color{
	"white": {255, 255, 255, 255}, "black": {0, 0, 0, 255}, "transparent": {0, 0, 0, 0},
	"red": {255, 0, 0, 255}, "green": {0, 128, 0, 255}, "blue": {0, 0, 255, 255}, "gray": {128, 128, 128, 255},
}

func parseColor(s string) (*Color, error) {
	if c, ok := named[s]; ok {
		return &c, nil
	}
	digits := strings.TrimPrefix(s, "#")
	if len(digits) == 3 || len(digits) == 4 {
		var wide strings.Builder
		for i := range len(digits) {
			wide.WriteByte(digits[i])
			wide.WriteByte(digits[i])
		}
		digits = wide.String()
	}
	if len(digits) == 6 {
		digits += "ff"
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		return nil, fmt.Errorf("expected a colour as rgb, rrggbb or rrggbbaa in hexadecimal, or white, black, transparent, red, green, blue or gray, but received %q", clip(s))
	}
	return &Color{uint8(v >> 24), uint8(v >> 16), uint8(v >> 8), uint8(v)}, nil
}

func printColor(c *Color) string {
	switch {
	case c == nil:
		return ""
	case c.A == 255:
		return fmt.Sprintf("%02x%02x%02x", c.R, c.G, c.B)
	}
	return fmt.Sprintf("%02x%02x%02x%02x", c.R, c.G, c.B, c.A)
}

// parseEdges takes one length for all sides, two (vertical, horizontal) or four
// from the top clockwise, as CSS does.
func parseEdges(s string) (Edges, error) {
	n := strings.Count(s, ",") + 1
	if n != 1 && n != 2 && n != 4 {
		return Edges{}, fmt.Errorf("expected one, two or four lengths but received %q", clip(s))
	}
	v, err := parseInts(s, n, 0, MaxPad)
	if err != nil {
		return Edges{}, err
	}
	switch n {
	case 1:
		return Edges{v[0], v[0], v[0], v[0]}, nil
	case 2:
		return Edges{v[0], v[1], v[0], v[1]}, nil
	}
	return Edges{v[0], v[1], v[2], v[3]}, nil
}

func printEdges(e Edges) string {
	switch {
	case e == Edges{}:
		return ""
	case e.Top == e.Right && e.Top == e.Bottom && e.Top == e.Left:
		return strconv.Itoa(e.Top)
	case e.Top == e.Bottom && e.Right == e.Left:
		return fmt.Sprintf("%d,%d", e.Top, e.Right)
	}
	return fmt.Sprintf("%d,%d,%d,%d", e.Top, e.Right, e.Bottom, e.Left)
}
