package worker

import (
	"strings"

	"safelight/internal/encoder/jpeg"
	"safelight/internal/format"
	"safelight/internal/quality"
	"safelight/internal/vips"
)

// What each encoder's setting brings a typical photograph in SSIMULACRA2, by
// TestCurves on seven photographs of 444 to 500 px. What the encoders can't
// reach is put at the end of their range.
var (
	jpegCurves = map[jpeg.Subsampling]quality.Curve{
		jpeg.S444: {Min: -5, Max: 1.5, Activity: 0.14,
			Points: [][2]float64{{50, -3.58}, {60, -3.07}, {70, -2.56}, {75, -2.28}, {80, -1.93}, {85, -1.42}, {90, -0.66}, {93, -0.14}}},
		jpeg.S420: {Min: -5, Max: 1.5, Activity: 0.35, Points: [][2]float64{{50, -3.13}, {60, -2.66}, {70, -2.05}, {75, -1.62}, {80, -1.08}, {85, -0.38}}},
	}
	turboCurves = map[string]quality.Curve{
		"off": {Min: 1, Max: 100, Step: 1, Activity: 3.8,
			Points: [][2]float64{{50, 7}, {60, 31}, {70, 55}, {75, 67}, {80, 77}, {85, 86}, {90, 93}, {93, 97}}},
		"on": {Min: 1, Max: 100, Step: 1, Activity: 8, Points: [][2]float64{{50, 25}, {60, 47}, {70, 67}, {75, 78}, {80, 88}, {85, 97}}},
	}
	webPCurve         = quality.Curve{Min: 1, Max: 100, Step: 1, Points: [][2]float64{{50, 15}, {60, 39}, {70, 65}, {75, 77}, {80, 83}, {85, 91}, {90, 98}}}
	nearLosslessCurve = quality.Curve{Min: 0, Max: 80, Step: 20, Points: [][2]float64{{60, 0}, {95, 60}}}
	avifCurves        = map[string]quality.Curve{
		"off": {Min: 1, Max: 100, Step: 1, Activity: -1.5,
			Points: [][2]float64{{50, 30}, {60, 39}, {70, 48}, {75, 54}, {80, 61}, {85, 72}, {90, 86}, {93, 94}}},
		"on": {Min: 1, Max: 100, Step: 1, Activity: 3, Points: [][2]float64{{50, 34}, {60, 43}, {70, 53}, {75, 61}, {80, 73}, {85, 90}}},
	}

	// jxlCurve is of minus the distance, of 0.1 to 12, with effort 7; with 9 it hardly differs.
	jxlCurve = quality.Curve{Min: -12, Max: -0.1, Activity: 0.35,
		Points: [][2]float64{{50, -5.8}, {60, -4.5}, {70, -3.05}, {75, -2.3}, {80, -1.6}, {85, -0.95}, {90, -0.5}, {93, -0.2}}}

	// fastCurves are of the encoders as requests use them, with less regard to
	// activity than seven photographs would have it: others do not bear it out.
	fastCurves = map[format.Format]quality.Curve{
		format.JPEG: {Min: 30, Max: 95, Step: 1, Activity: 2, Points: [][2]float64{{50, 28}, {60, 50}, {70, 70}, {75, 78}, {80, 85}, {85, 90}, {90, 94}, {93, 97}}},
		format.WebP: {Min: 30, Max: 95, Step: 1, Activity: 2, Points: [][2]float64{{50, 18}, {60, 43}, {70, 70}, {75, 81}, {80, 89}, {85, 97}}},
		format.AVIF: {Min: 25, Max: 95, Step: 1, Points: [][2]float64{{50, 39}, {60, 47}, {70, 56}, {75, 64}, {80, 74}, {85, 84}, {90, 91}, {93, 94}}},
		format.JXL:  {Min: 30, Max: 98, Step: 1, Activity: 1.3, Points: [][2]float64{{50, 38}, {60, 47}, {70, 64}, {75, 74}, {80, 82}, {85, 89}, {90, 95}, {93, 98}}},
	}
)

// encoder names what encodes a format here, with its version.
func (e *Engine) encoder(f format.Format) string {
	for _, name := range map[format.Format][]string{
		format.JPEG: {"jpeg"}, format.PNG: {"spng", "png16"}, format.WebP: {"webp"}, format.AVIF: {"aom", "heif"}, format.GIF: {"cgif"}, format.JXL: {"jxl"},
	}[f] {
		for _, l := range e.libraries {
			if l.Name == name {
				return "lib" + l.Name + " " + strings.TrimPrefix(l.Version, "so ")
			}
		}
	}
	return "libvips " + vips.Version()
}
