package worker

import (
	"safelight/internal/encoder/jpeg"
	"safelight/internal/format"
	"safelight/internal/quality"
	"safelight/internal/vips"
)

// What each encoder's setting brings a typical photograph in SSIMULACRA2.
// `go run ./bench -only curves` measures them on photographs.
var (
	jpegCurves = map[jpeg.Subsampling]quality.Curve{
		jpeg.S444: {Min: -5, Max: 1, Points: [][2]float64{{60, -2.8}, {75, -2.0}, {87, -1.1}, {93, -0.4}}},
		jpeg.S420: {Min: -5, Max: 1, Points: [][2]float64{{60, -2.8}, {75, -1.9}, {87, -0.7}, {93, 0.5}}},
	}
	turboCurve        = quality.Curve{Min: 1, Max: 100, Step: 1, Points: [][2]float64{{50, 35}, {65, 62}, {75, 80}, {85, 91}, {92, 97}}}
	webPCurve         = quality.Curve{Min: 1, Max: 100, Step: 1, Points: [][2]float64{{50, 35}, {65, 65}, {75, 82}, {82, 92}, {88, 98}}}
	nearLosslessCurve = quality.Curve{Min: 0, Max: 80, Step: 20, Points: [][2]float64{{60, 0}, {95, 60}}}
	avifCurves        = map[string]quality.Curve{
		"off": {Min: 1, Max: 100, Step: 1, Points: [][2]float64{{50, 35}, {70, 55}, {80, 68}, {88, 82}, {94, 94}}},
		"on":  {Min: 1, Max: 100, Step: 1, Points: [][2]float64{{50, 35}, {70, 55}, {80, 70}, {87, 88}, {92, 98}}},
	}

	// fastCurves are of the encoders as requests use them.
	fastCurves = map[format.Format]quality.Curve{format.JPEG: turboCurve, format.WebP: webPCurve, format.AVIF: avifCurves["on"]}
)

// encoder names what encodes a format here, with its version.
func (e *Engine) encoder(f format.Format) string {
	for _, name := range map[format.Format][]string{
		format.JPEG: {"jpeg"}, format.PNG: {"spng", "png16"}, format.WebP: {"webp"}, format.AVIF: {"aom", "heif"}, format.GIF: {"cgif"},
	}[f] {
		for _, l := range e.libraries {
			if l.Name == name {
				return "lib" + l.Name + " " + l.Version
			}
		}
	}
	return "libvips " + vips.Version()
}
