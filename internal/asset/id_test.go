package asset_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

const digits = "0123456789abcdefghjkmnpqrstvwxyz"

var mint = asset.NewMint([]byte("0123456789abcdef"))

func TestIDsSortByTime(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 2, 29, 23, 59, 59, 999e6, time.UTC)
	var ids []string
	for i := range 2000 {
		at := start.Add(time.Duration(i*i) * time.Millisecond)
		id := mint.New(at)
		if !id.Time().Equal(at) {
			t.Fatalf("made at %s, says %s", at, id.Time())
		}
		ids = append(ids, id.String())
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort by time")
	}
	if same := mint.New(start); same.String() == mint.New(start).String() {
		t.Error("two ids of one moment are the same")
	}
}

func TestIDsOfOneMoment(t *testing.T) {
	t.Parallel()
	own := asset.NewMint([]byte("0123456789abcdef"))
	at := time.UnixMilli(1_700_000_000_000)
	var ids []string
	for range 20_000 {
		ids = append(ids, own.New(at).String())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 20_000 {
		t.Error("ids of one millisecond do not sort in the order in which they were made, or repeat")
	}
	if id, err := own.Parse(ids[19_999]); err != nil || !id.Time().Equal(at) {
		t.Errorf("the last says %s, %v", id.Time(), err)
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := mint.New(time.Now())
	s := id.String()
	if got, err := mint.Parse(s); err != nil || got != id {
		t.Fatalf("%s: %v, %v", s, got, err)
	}
	if text, err := id.MarshalText(); err != nil || string(text) != s {
		t.Errorf("as text: %q, %v", text, err)
	}
	bad := map[string]string{
		"empty": "", "short": s[:25], "long": s + "0", "upper case": strings.ToUpper(s), "line break": s[:13] + "\n" + s[14:],
		"padding": s[:25] + "=", "letters that Crockford leaves out": "ilou" + s[4:], "not ASCII": s[:24] + "é",
	}
	for name, text := range bad {
		if got, err := mint.Parse(text); fault.Of(err) != fault.NotFound || got != (asset.ID{}) {
			t.Errorf("%s: %q is %v, %v; want NotFound", name, text, got, err)
		}
	}
	other := asset.NewMint([]byte("0123456789abcdeg"))
	if _, err := other.Parse(s); fault.Of(err) != fault.NotFound {
		t.Errorf("another mint takes it: %v", err)
	}
}

func TestParseIDRefusesEveryChangedCharacter(t *testing.T) {
	t.Parallel()
	s := mint.New(time.Now()).String()
	for i := range len(s) {
		for _, c := range []byte(digits + "ILOU=-\n ") {
			if c == s[i] {
				continue
			}
			changed := s[:i] + string(c) + s[i+1:]
			if _, err := mint.Parse(changed); fault.Of(err) != fault.NotFound {
				t.Fatalf("%s, changed to %s, is taken: %v", s, changed, err)
			}
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(mint.New(time.UnixMilli(0)).String())
	f.Add(strings.Repeat("0", 26))
	f.Add(strings.Repeat("z", 26))
	f.Fuzz(func(t *testing.T, s string) {
		id, err := mint.Parse(s)
		if err != nil {
			if fault.Of(err) != fault.NotFound {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if id.String() != s {
			t.Fatalf("%q is read as %s", s, id)
		}
	})
}

func TestDigest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := asset.Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		got, err := asset.ParseDigest(d.String())
		if err != nil || got != d || len(d.String()) != 64 {
			t.Fatalf("%s: %s, %v", d, got, err)
		}
	})
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64)} {
		if _, err := asset.ParseDigest(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestVariant(t *testing.T) {
	t.Parallel()
	one, two := asset.Digest{1}, asset.Digest{2}
	v := asset.Variant(one, "w=500")
	if v != asset.Variant(one, "w=500") {
		t.Error("the same variant has two keys")
	}
	if v == asset.Variant(one, "w=501") || v == asset.Variant(two, "w=500") || v == asset.Variant(one, "") {
		t.Error("two variants have the same key")
	}
	if len(v.String()) != 32 {
		t.Errorf("as text: %s", v)
	}
}
