package options_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/options"
)

// value draws a value that the field must take.
func value(f options.Field) *rapid.Generator[string] {
	join := func(n, low, high int) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(rapid.IntRange(low, high), n, n), func(v []int) string {
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")
		})
	}
	if len(f.Enum) > 0 {
		return rapid.SampledFrom(f.Enum)
	}
	switch {
	case f.Name == "trim":
		return rapid.OneOf(rapid.Just(""), join(1, 0, 255))
	case f.Name == "crop":
		return join(4, 1, 65535)
	case f.Name == "pad":
		return rapid.OneOf(join(1, 0, options.MaxPad), join(2, 0, options.MaxPad), join(4, 0, options.MaxPad))
	case f.Name == "q":
		return rapid.OneOf(rapid.Just("auto"), join(1, 1, 100))
	case f.Name == "watermark":
		return rapid.String().Filter(func(s string) bool { return asset.CheckKey(s) == nil })
	case f.Name == "text":
		return rapid.StringMatching(`[ -~é日]{0,30}`)
	case strings.HasSuffix(f.Name, "gravity"):
		return rapid.Custom(func(t *rapid.T) string {
			words := []string{"center", "north", "southeast", "west"}
			if f.Name == "gravity" {
				words = append(words, "smart")
			}
			point := rapid.Float64Range(0, 1)
			return rapid.OneOf(rapid.SampledFrom(words), rapid.Just(fmt.Sprint(point.Draw(t, "x"), ",", point.Draw(t, "y")))).Draw(t, f.Name)
		})
	case f.Type == "boolean":
		return rapid.SampledFrom([]string{"", "0", "1", "true", "off"})
	case f.Type == "integer":
		return join(1, int(f.Min), int(f.Max))
	case f.Type == "number":
		return rapid.Map(rapid.Float64Range(f.Min, f.Max), func(v float64) string { return fmt.Sprint(v) })
	}
	return rapid.SampledFrom([]string{"fff", "#ABCDEF", "00000000", "red", "12345678"}) // colours
}

func draw(t *rapid.T) options.Options {
	var o options.Options
	for _, f := range options.Fields() {
		if !rapid.Bool().Draw(t, "with "+f.Name) {
			continue
		}
		v := value(f).Draw(t, f.Name)
		if err := o.Set(f.Name, v); err != nil {
			t.Fatalf("%s=%q: %v", f.Name, v, err)
		}
	}
	return o
}

func TestCanonicalIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { checkReadBack(t, draw(t)) })
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkReadBack(t failer, o options.Options) {
	t.Helper()
	n := o.Normalize()
	if !reflect.DeepEqual(n.Normalize(), n) {
		t.Fatalf("normalized twice:\n%+v\n%+v", n, n.Normalize())
	}
	back, err := options.Parse(n.Canonical())
	if err != nil {
		t.Fatalf("%s: %v", n.Canonical(), err)
	}
	if !reflect.DeepEqual(back, n) {
		t.Fatalf("%s:\n%+v\n%+v", n.Canonical(), n, back)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("w=500&h=300&fit=cover&gravity=smart&q=80")
	f.Add("crop=1,2,3,4&rot=-90&flip=vh&trim&pad=1,2&bg=%23fff8&blur=.3&text=a+b%26c&text_size=4&dpr=.1")
	f.Add("w=16384&pad=4096&dpr=8&watermark=a/b&wm_scale=.01&wm_opacity=-0&format=auto&anim=0&strip=0")
	f.Fuzz(func(t *testing.T, query string) {
		o, err := options.Parse(query)
		if err != nil {
			return
		}
		checkReadBack(t, o)
	})
}
