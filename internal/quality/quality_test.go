package quality

import (
	"math/rand/v2"
	"testing"

	"safelight/internal/fault"
)

func TestParseTargets(t *testing.T) {
	for text, want := range map[string]Targets{
		"80":                               {SSIMULACRA2: 80},
		"ssimulacra2=86.9,butteraugli=0.8": {86.9, 0.8},
		" butteraugli=1.5":                 {Butteraugli: 1.5},
		"90, butteraugli = 1":              {90, 1},
	} {
		got, err := ParseTargets(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v %v", text, got, err)
		}
		if again, err := ParseTargets(got.String()); err != nil || again != got {
			t.Errorf("%q became %q: %+v %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "x", "100", "0", "5", "-3", "NaN", "Inf", "ssimulacra2=", "psnr=40", "butteraugli=0.01", "butteraugli=NaN", "80,,"} {
		if got, err := ParseTargets(text); fault.Of(err) != fault.Invalid || err == nil {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
}

func TestParseTier(t *testing.T) {
	for _, name := range []Tier{Fast, Balanced, Max} {
		if got, err := ParseTier(string(name)); got != name || err != nil {
			t.Error(name, got, err)
		}
	}
	if _, err := ParseTier("slow"); fault.Of(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestLook(t *testing.T) {
	const w, h = 64, 48
	flat, noisy := make([]uint8, w*h*3), make([]uint8, w*h*3)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noisy {
		flat[i], noisy[i] = 90, uint8(rng.Uint32())
	}
	if f := Look(flat, w, h, 3); f.Activity != 0 || f.Flat != 1 || f.Chroma != 0 {
		t.Errorf("flat: %+v", f)
	}
	if f := Look(noisy, w, h, 3); f.Activity < 30 || f.Flat > 0.01 || f.Chroma < 30 {
		t.Errorf("noise: %+v", f)
	}
	grey := Look(noisy[:w*h], w, h, 1)
	if grey.Activity < 60 || grey.Chroma != 0 {
		t.Errorf("grey: %+v", grey)
	}
	for bands := 1; bands <= 4; bands++ {
		Look(noisy[:bands], 1, 1, bands)
		Look(noisy[:9*bands], 9, 1, bands)
		Look(noisy[:9*bands], 1, 9, bands)
	}
}
