package mirror

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Place{URL: "s3://bucket/prefix?region=x", Prefix: "a/b/", Delete: true}
	if err := (Config{map[string]Place{"shop": good}}).Validate(); err != nil {
		t.Error(err)
	}
	for says, change := range map[string]func(*Place){
		"expected a bucket":   func(p *Place) { p.URL = "ftp://host/x" },
		"mirrors.shop.url":    func(p *Place) { p.URL = "s3:" },
		"backslash":           func(p *Place) { p.Prefix = `a\b` },
		"needs a prefix":      func(p *Place) { p.Prefix = "/" },
		"goes with reference": func(p *Place) { p.Keep = time.Second },
		"than a minute":       func(p *Place) { p.Every = time.Second },
	} {
		p := good
		change(&p)
		err := Config{map[string]Place{"shop": p}}.Validate()
		if err == nil || says != "backslash" && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if err := (Config{map[string]Place{"a/b": good}}).Validate(); err == nil {
		t.Error("a name with a slash is taken")
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	whole, part := Place{URL: "s3://b"}, Place{URL: "s3://b/x/y/?region=z", Prefix: "/k/"}
	for _, c := range []struct {
		p                   Place
		bucket, name, below string
		ok                  bool
	}{
		{whole, "b", "a/b.jpg", "a/b.jpg", true}, {whole, "c", "a/b.jpg", "", false}, {whole, "b", "", "", false},
		{part, "b", "x/y/a.jpg", "a.jpg", true}, {part, "b", "x/ya.jpg", "", false}, {part, "b", "x/y/", "", false}, {part, "b", "a.jpg", "", false},
	} {
		if below, ok := c.p.object(c.bucket, c.name); ok != c.ok || ok && below != c.below {
			t.Errorf("%s %s: %q, %v", c.bucket, c.name, below, ok)
		}
	}
	if whole.key("a") != "a" || part.key("a/b") != "k/a/b" {
		t.Error(whole.key("a"), part.key("a/b"))
	}
	if whole.Interval() != 24*time.Hour || (Place{Every: -1}).Interval() != 0 || (Place{Every: time.Hour}).Interval() != time.Hour {
		t.Error("intervals")
	}
}

// TestApart: keys below the prefix of a mirror that deletes can't be another's.
func TestApart(t *testing.T) {
	t.Parallel()
	with := func(prefix, owner string, remove bool) Place {
		return Place{URL: "s3://bucket", Prefix: prefix, Owner: owner, Delete: remove}
	}
	for name, c := range map[string]struct {
		a, b  Place
		wrong bool
	}{
		"the same prefix":             {with("shop", "", true), with("/shop/", "", true), true},
		"one that does not delete":    {with("shop", "", true), with("shop", "", false), true},
		"within one that deletes":     {with("shop", "", true), with("shop/new", "main", false), true},
		"around one that deletes":     {with("shop/new", "", true), with("", "", false), true},
		"neither deletes":             {with("shop", "", false), with("shop", "", false), false},
		"another owner":               {with("shop", "", true), with("shop", "ann", true), false},
		"beside it":                   {with("shop", "", true), with("shop-new", "", true), false},
		"beside it, in one directory": {with("a/shop", "", true), with("a/new", "", true), false},
	} {
		err := Config{map[string]Place{"a": c.a, "b": c.b}}.Validate()
		if (err != nil) != c.wrong || c.wrong && !strings.Contains(err.Error(), "mirrors.a.prefix") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
