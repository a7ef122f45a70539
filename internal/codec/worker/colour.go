package worker

import (
	"bytes"

	"safelight/internal/plan"
	"safelight/internal/vips"
)

const profileField = "icc-profile-data"

// srgb brings a picture to 8-bit sRGB, or to 8-bit grey where it is grey, each
// with alpha where there is some. A picture that is that already stays as it is.
func (p *picture) srgb(i *vips.Image) (*vips.Image, error) {
	i, err := p.understood(i)
	if err != nil {
		return nil, err
	}
	space := "srgb"
	if isGrey(i) {
		space = "b-w"
	}
	if i.Has(profileField) && !plainSRGB(i) {
		if out, ok := p.throughProfile(i); ok {
			i = out
		}
	}
	if (space == "srgb" && i.Interpretation() != vips.SRGB) || (space == "b-w" && i.Interpretation() != vips.BW) {
		if i, err = p.scope.Op("colourspace", i, vips.Set("space", space)); err != nil {
			return nil, err
		}
	}
	if i.Format() == vips.Uchar {
		return i, nil
	}
	return p.scope.Op("cast", i, vips.Set("format", "uchar"))
}

func isGrey(i *vips.Image) bool {
	return i.Interpretation() == vips.BW || i.Interpretation() == vips.Grey16
}

// throughProfile converts by the embedded profile. One that is damaged, or for
// another kind of picture, is as good as none.
func (p *picture) throughProfile(i *vips.Image) (*vips.Image, bool) {
	out, err := p.scope.Op("icc_transform", i, vips.Set("output_profile", "srgb"), vips.Set("embedded", true),
		vips.Set("intent", "perceptual"), vips.Set("depth", 8))
	return out, err == nil
}

// plainSRGB spares 8-bit pictures whose profile describes sRGB itself the
// conversion, which would change a value by one here and there and cost as much
// as the resize.
func plainSRGB(i *vips.Image) bool {
	if i.Interpretation() != vips.SRGB || i.Format() != vips.Uchar {
		return false
	}
	profile := i.Blob(profileField)
	if len(profile) < 132 || string(profile[16:20]) != "RGB " {
		return false
	}
	name := description(profile)
	return bytes.Contains(name, []byte("sRGB")) || bytes.Contains(name, []byte("s\x00R\x00G\x00B"))
}

// description is the content of a profile's 'desc' tag (ICC.1:2022 §7.3), text
// in Latin or UTF-16; nil where there is none.
func description(profile []byte) []byte {
	be := func(at int) int {
		if at < 0 || at+4 > len(profile) {
			return 0
		}
		b := profile[at:]
		return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	}
	for k := range min(be(128), 64) {
		entry := 132 + 12*k
		if entry+12 > len(profile) {
			return nil
		}
		if string(profile[entry:entry+4]) != "desc" {
			continue
		}
		from, size := be(entry+4), be(entry+8)
		if from > len(profile) || size > len(profile)-from {
			return nil
		}
		return profile[from : from+size]
	}
	return nil
}

// understood gives a meaning to pictures of scientific kinds: of many bands the
// first three are taken as colours, or the first as grey.
func (p *picture) understood(i *vips.Image) (*vips.Image, error) {
	plain := i.Bands() <= 4 || i.Interpretation() == vips.CMYK
	if i.Interpretation() != vips.Multiband && plain {
		return i, nil
	}
	bands, space := 3, "srgb"
	switch {
	case i.Bands() < 3:
		bands, space = 1, "b-w"
	case i.Bands() == 4 && i.Interpretation() == vips.Multiband:
		bands = 4 // the fourth is alpha
	}
	if i.Format() == vips.Ushort {
		space = map[string]string{"srgb": "rgb16", "b-w": "grey16"}[space]
	}
	out, err := p.scope.Op("extract_band", i, vips.Set("band", 0), vips.Set("n", bands))
	if err != nil {
		return nil, err
	}
	return p.scope.Op("copy", out, vips.Set("interpretation", space))
}

// The luma weights of sRGB (ITU-R BT.709), by which saturation keeps lightness.
const lumaR, lumaG, lumaB = 0.2126, 0.7152, 0.0722

// adjust changes tone on sRGB values, as CSS' brightness(), contrast() and saturate() do.
func (p *picture) adjust(i *vips.Image, a plan.Adjust) (*vips.Image, error) {
	i, err := p.srgb(i)
	if err != nil {
		return nil, err
	}
	return p.withoutAlpha(i, func(c *vips.Image) (*vips.Image, error) {
		if a.Saturation != 1 && c.Bands() == 3 {
			c, err = p.saturate(c, a.Saturation)
			if err != nil {
				return nil, err
			}
		}
		gain := a.Brightness * a.Contrast
		return p.scope.Op("linear", c, vips.Set("a", []float64{gain}),
			vips.Set("b", []float64{128 - 128*a.Contrast}), vips.Set("uchar", true))
	})
}

func (p *picture) saturate(i *vips.Image, s float64) (*vips.Image, error) {
	var rows []float64
	for r := range 3 {
		for c, weight := range []float64{lumaR, lumaG, lumaB} {
			v := (1 - s) * weight
			if r == c {
				v += s
			}
			rows = append(rows, v)
		}
	}
	matrix, err := p.scope.Matrix(rows, 3, 3)
	if err != nil {
		return nil, err
	}
	return p.scope.Op("recomb", i, vips.Set("m", matrix))
}

// withoutAlpha runs a change on the colours only, 8 bit in and out.
func (p *picture) withoutAlpha(i *vips.Image, change func(*vips.Image) (*vips.Image, error)) (*vips.Image, error) {
	if !i.HasAlpha() {
		return change(i)
	}
	colours, err := p.scope.Op("extract_band", i, vips.Set("band", 0), vips.Set("n", i.Bands()-1))
	if err != nil {
		return nil, err
	}
	alpha, err := p.scope.Op("extract_band", i, vips.Set("band", i.Bands()-1))
	if err != nil {
		return nil, err
	}
	if colours, err = change(colours); err != nil {
		return nil, err
	}
	var out *vips.Image
	err = p.scope.Call("bandjoin", vips.Set("in", []*vips.Image{colours, alpha}), vips.Get("out", &out))
	return out, err
}

// flatten lays the picture on a colour and drops its alpha.
func (p *picture) flatten(i *vips.Image, c plan.RGB) (*vips.Image, error) {
	if !i.HasAlpha() {
		return i, nil
	}
	c.A = 255
	i, background, err := p.prepared(i, c)
	if err != nil {
		return nil, err
	}
	return p.scope.Op("flatten", i, vips.Set("background", background[:len(background)-1]))
}
