package worker

import (
	"fmt"
	"math"
	"strings"

	"safelight/internal/encoder/jpeg"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/vips"
)

// drawing is the fraction of equal neighbours above which a picture is likely
// to be a drawing or a screenshot, which lossless formats suit. They suit most
// animations too.
const drawing = 0.35

// candidates lists the ways to encode a picture in the format, the likeliest
// winner first.
func (e *Engine) candidates(p *picture, s plan.Save, f quality.Features, first metric.Image) ([]candidate, error) {
	v, err := e.viaVips(p, s)
	if err != nil {
		return nil, err
	}
	most := s.Search.Tier == quality.Max
	switch s.Format {
	case format.JPEG:
		if s.KeepICC { // which our own encoder does not write
			return []candidate{v.turbo("off"), v.turbo("on")}, nil
		}
		return e.jpegs(first, s.Search)
	case format.WebP:
		if s.Lossless {
			return []candidate{v.losslessWebP(most)}, nil
		}
		list := []candidate{v.webP("picture"), v.webP("default")}
		if most {
			list = append(list, v.webP("photo"))
		}
		if f.Flat > drawing || len(p.frames) > 1 || most && f.Flat > drawing/4 {
			list = append(list, v.losslessWebP(most), v.nearLossless())
		}
		return list, nil
	case format.AVIF:
		return v.avifs(s), nil
	case format.JXL:
		return v.jxls(s, f), nil
	case format.PNG:
		return []candidate{v.palette(most), v.png(pngFilters), v.png(0)}, nil
	}
	return []candidate{v.gif(most)}, nil
}

// jpegs are our own encoder's ways.
func (e *Engine) jpegs(m metric.Image, s *plan.Search) ([]candidate, error) {
	if m.Bands == 1 {
		one, err := ownJPEG(m, jpegWay{jpeg.S444, 1, "grey"})
		return []candidate{one}, err
	}
	var list []candidate
	for _, way := range ways(s) {
		c, err := ownJPEG(m, way)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// jpegWay is a way to use our own encoder.
type jpegWay struct {
	sampling jpeg.Subsampling
	chroma   float64 // factor on the steps of chroma
	text     string
}

// ways are those that may come out smallest.
func ways(s *plan.Search) []jpegWay {
	full := jpegWay{jpeg.S444, 1, "4:4:4"}
	switch {
	case s.Tier == quality.Max:
		return []jpegWay{full, {jpeg.S444, 1.2, "4:4:4, chroma 1.2"}, {jpeg.S444, 0.85, "4:4:4, chroma 0.85"}, {jpeg.S420, 1, "4:2:0"}}
	case s.Targets.Score() < halvedBelow:
		return []jpegWay{full, {jpeg.S420, 1, "4:2:0"}}
	}
	return []jpegWay{full}
}

// halvedBelow is the score from which on halved chroma costs more than it saves
// on nearly every photograph, with encoders that weigh chroma well.
const halvedBelow = 65

// ownJPEG is our own encoder. Its setting is minus the logarithm of the scale,
// which scores follow almost in a line.
func ownJPEG(m metric.Image, way jpegWay) (candidate, error) {
	picture, err := jpeg.Analyse(m.Pix, m.W, m.H, m.Bands, way.sampling)
	if err != nil {
		return candidate{}, err
	}
	var weights []float32
	rounds := 0
	encode := func(x float64) ([]byte, error) {
		return picture.Encode(nil, jpeg.Settings{Scale: math.Exp(-x), Chroma: way.chroma, Weights: weights}), nil
	}
	return candidate{
		name: "safelight-" + jpeg.Version, family: map[jpeg.Subsampling]string{jpeg.S444: "full", jpeg.S420: "halved"}[way.sampling], curve: jpegCurves[way.sampling], encode: encode,
		settings: func(x float64) string {
			text := fmt.Sprintf("%s, scale %.3f", way.text, math.Exp(-x))
			if rounds > 0 {
				text += fmt.Sprintf(", %d feedback", rounds)
			}
			return text
		},
		feed: func(distances []float32) { weights, rounds = picture.Feedback(distances, weights), rounds+1 },
	}, nil
}

// viaVips are libvips' savers, into memory.
type viaVips struct {
	engine  *Engine
	roll    *vips.Image
	format  format.Format
	keepICC bool
}

func (e *Engine) viaVips(p *picture, s plan.Save) (viaVips, error) {
	roll, err := p.join()
	if err == nil {
		roll, err = p.bare(roll, s.KeepICC)
	}
	return viaVips{e, roll, s.Format, s.KeepICC}, err
}

// save encodes with arguments of the saver.
func (v viaVips) save(args ...vips.Arg) ([]byte, error) {
	scope := vips.NewScope()
	defer scope.Close()
	target, err := scope.TargetMemory()
	if err != nil {
		return nil, err
	}
	all := append([]vips.Arg{vips.Set("in", v.roll), vips.Set("target", target), vips.Set("strip", !v.keepICC)}, args...)
	if err := scope.Call(savers[v.format], all...); err != nil {
		return nil, err
	}
	return target.Take()
}

// one is a candidate without a setting.
var one = quality.Curve{Points: [][2]float64{{0, 0}, {100, 1}}}

// candidate makes one whose setting is the saver's Q.
func (v viaVips) candidate(curve quality.Curve, note string, args ...vips.Arg) candidate {
	return candidate{
		name: v.engine.encoder(v.format), family: note, curve: curve,
		settings: func(x float64) string {
			if curve.Max == 0 {
				return note
			}
			return strings.TrimSuffix(fmt.Sprintf("Q %.0f, %s", x, note), ", ")
		},
		encode: func(x float64) ([]byte, error) {
			all := args
			if curve.Max > 0 {
				all = append([]vips.Arg{vips.Set("Q", int(math.Round(x)))}, args...)
			}
			return v.save(all...)
		},
	}
}

func (v viaVips) turbo(subsampling string) candidate {
	note := map[string]string{"on": "4:2:0", "off": "4:4:4"}[subsampling]
	return v.candidate(turboCurves[subsampling], note, vips.Set("optimize_coding", true), vips.Set("interlace", true), vips.Set("subsample_mode", subsampling))
}

// webP takes the slowest effort in every tier: it is cheap enough. The presets of
// libwebp come out within a percent of each other, now one smaller, now another;
// with the default's the score is not quite monotone.
func (v viaVips) webP(preset string) candidate {
	c := v.candidate(webPCurve, "effort 6, sharp YUV, preset "+preset, vips.Set("effort", 6), vips.Set("smart_subsample", true), vips.Set("preset", preset))
	c.family = "webp"
	return c
}

func (v viaVips) losslessWebP(most bool) candidate {
	effort := 4
	if most {
		effort = 6
	}
	return v.candidate(one, fmt.Sprintf("lossless, effort %d", effort), vips.Set("lossless", true), vips.Set("effort", effort))
}

// nearLossless makes few changes before it encodes without loss; Q is how many.
func (v viaVips) nearLossless() candidate {
	return v.candidate(nearLosslessCurve, "near lossless, effort 4", vips.Set("lossless", true), vips.Set("near_lossless", true), vips.Set("effort", 4))
}

func (v viaVips) avifs(s plan.Save) []candidate {
	effort := effortBalanced
	if s.Search.Tier == quality.Max {
		effort = effortMax
	}
	args := []vips.Arg{vips.Set("compression", "av1"), vips.Set("bitdepth", 8), vips.Set("effort", effort)}
	if s.Lossless {
		return []candidate{v.candidate(one, fmt.Sprintf("lossless, effort %d", effort), append(args, vips.Set("lossless", true))...)}
	}
	way := func(mode, note string) candidate {
		return v.candidate(avifCurves[mode], fmt.Sprintf("%s, effort %d", note, effort), append(args[:len(args):len(args)], vips.Set("subsample_mode", mode))...)
	}
	full := way("off", "4:4:4")
	if s.Search.Targets.Score() >= halvedBelow+10 && s.Search.Tier != quality.Max {
		return []candidate{full}
	}
	return []candidate{full, way("on", "4:2:0")}
}

// What AVIF encodes with: speed 9 − effort of aom.
const (
	effortBalanced = 3
	effortMax      = 5
)

// jxls are libjxl's ways: by distance, whose steps are finer than those of Q, and
// without loss. Effort 9 without loss would take 20 s for a megapixel.
func (v viaVips) jxls(s plan.Save, f quality.Features) []candidate {
	lossless := v.candidate(one, "lossless, effort 7", vips.Set("lossless", true), vips.Set("effort", 7))
	if s.Lossless {
		return []candidate{lossless}
	}
	effort := 7
	if s.Search.Tier == quality.Max {
		effort = 9
	}
	list := []candidate{{
		name: v.engine.encoder(v.format), family: "lossy", curve: jxlCurve,
		settings: func(x float64) string { return fmt.Sprintf("distance %.3f, effort %d", -x, effort) },
		encode: func(x float64) ([]byte, error) {
			return v.save(vips.Set("distance", -x), vips.Set("effort", effort))
		},
	}}
	if f.Flat > drawing || s.Search.Tier == quality.Max && f.Flat > drawing/4 {
		list = append(list, lossless)
	}
	return list
}

// palette reduces to 256 colours or fewer, and falls to the score if it shows.
func (v viaVips) palette(most bool) candidate {
	effort := 7
	if most {
		effort = 10
	}
	return v.candidate(one, fmt.Sprintf("palette, effort %d", effort), vips.Set("palette", true), vips.Set("Q", 100), vips.Set("effort", effort), vips.Set("compression", 9))
}

func (v viaVips) png(filters int) candidate {
	note := map[int]string{0: "no filters", pngFilters: "all filters"}[filters]
	return v.candidate(one, note, vips.Set("compression", 9), vips.Set("filter", filters))
}

func (v viaVips) gif(most bool) candidate {
	effort := 7
	if most {
		effort = 10
	}
	return v.candidate(one, fmt.Sprintf("effort %d", effort), vips.Set("effort", effort))
}
