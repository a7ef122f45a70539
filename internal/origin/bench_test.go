package origin

import (
	"strings"
	"testing"
)

// BenchmarkClean has the longest hosts that are looked at.
func BenchmarkClean(b *testing.B) {
	g := guardOf(b, nil)
	for name, u := range map[string]string{
		"plain":    "https://photos.example.com/a/b.jpg?w=1",
		"ideogram": "https://" + strings.Repeat("漢", 340) + "/",
		"accents":  "https://" + strings.Repeat("a\u0301\u0323", 200) + "/",
		"joiners":  "https://" + strings.Repeat("\u200d", 340) + "/",
		"ligature": "https://" + strings.Repeat("ﷺ", 340) + "/",
		"punycode": "https://" + strings.Repeat("xn--zzzzzzzz.", 70) + "a/",
		"query":    "https://a.example/?" + strings.Repeat("ü", 2000),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = g.clean(u)
			}
		})
	}
}
