package options

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
)

// Field describes one option for documentation, and how it is read and
// written. Values in URLs are text.
type Field struct {
	Name    string
	Type    string // "integer", "number", "boolean" or "string"
	Unit    string // "px", "degrees" …, or ""
	Range   string // what values are allowed, in words
	Min     float64
	Max     float64  // with Min, for integers and numbers; both 0 where there is no range
	Enum    []string // the allowed words, if they are a closed set
	Default string
	Doc     string // one sentence

	read  func(o *Options, value string) error
	write func(o *Options) string // "" for the default
}

// Fields lists every option in canonical order.
func Fields() []Field { return fields }

var byName = func() map[string]*Field {
	m := make(map[string]*Field, len(fields))
	for i := range fields {
		m[fields[i].Name] = &fields[i]
	}
	return m
}()

// Known tells whether an option of this name exists.
func Known(name string) bool { return byName[name] != nil }

// Set reads one option from text. An unknown name or a value out of range is
// fault.Invalid, with what is allowed in the message.
func (o *Options) Set(name, value string) error {
	f := byName[name]
	if f == nil {
		return fault.New(fault.Invalid, "unknown parameter %q; the parameters are preset, dl, %s", clip(name), names())
	}
	if err := f.read(o, value); err != nil {
		return fault.New(fault.Invalid, "%s: %s", name, err.Error())
	}
	return nil
}

func names() string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.Name
	}
	return strings.Join(all, ", ")
}

// Canonical writes the options in the one form that identifies them: fields in
// the table's order, defaults left out, values query-escaped. Call it on
// normalized options to compare meanings.
func (o Options) Canonical() string {
	var b strings.Builder
	for i := range fields {
		v := fields[i].write(&o)
		if v == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(fields[i].Name)
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(v))
	}
	return b.String()
}

// Parse reads "w=500&fit=cover", as presets are written in the configuration.
// The first mistake is answered as fault.Invalid.
func Parse(query string) (Options, error) {
	var o Options
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return o, fault.New(fault.Invalid, "%s: the value is not properly escaped", clip(name))
		}
		if err := o.Set(name, value); err != nil {
			return o, err
		}
	}
	return o, nil
}

func intField(name, unit string, low, high int, def, doc string, at func(*Options) *int) Field {
	return Field{
		Name: name, Type: "integer", Unit: unit, Range: fmt.Sprintf("%d to %d", low, high), Min: float64(low), Max: float64(high), Default: def, Doc: doc,
		read: func(o *Options, s string) (err error) { *at(o), err = parseInt(s, low, high); return },
		write: func(o *Options) string {
			if v := *at(o); v != 0 {
				return strconv.Itoa(v)
			}
			return ""
		},
	}
}

func floatField(name, unit string, low, high float64, def, doc string, at func(*Options) *float64) Field {
	return Field{
		Name: name, Type: "number", Unit: unit, Range: number(low) + " to " + number(high), Min: low, Max: high, Default: def, Doc: doc,
		read: func(o *Options, s string) (err error) { *at(o), err = parseFloat(s, low, high); return },
		write: func(o *Options) string {
			if v := *at(o); v != 0 {
				return number(v)
			}
			return ""
		},
	}
}

func factorField(name string, high float64, doc string, at func(*Options) **float64) Field {
	return Field{
		Name: name, Type: "number", Unit: "factor", Range: "0 to " + number(high), Max: high, Default: "1", Doc: doc,
		read: func(o *Options, s string) error {
			v, err := parseFloat(s, 0, high)
			*at(o) = &v
			return err
		},
		write: func(o *Options) string {
			if v := *at(o); v != nil {
				return number(*v)
			}
			return ""
		},
	}
}

func boolField(name, def, doc string, at func(*Options) *bool) Field {
	return Field{
		Name: name, Type: "boolean", Range: "1 or 0", Default: def, Doc: doc,
		read: func(o *Options, s string) (err error) {
			v, err := parseBool(s)
			*at(o) = v != (def == "1") // stored as the difference from the default
			return err
		},
		write: func(o *Options) string {
			if !*at(o) {
				return ""
			}
			if def == "1" {
				return "0"
			}
			return "1"
		},
	}
}

func gravityField(name, def, doc string, smart bool, at func(*Options) **geom.Gravity) Field {
	allowed := gravityForm
	if smart {
		allowed = "smart, " + allowed
	}
	return Field{
		Name: name, Type: "string", Range: allowed, Default: def, Doc: doc,
		read:  func(o *Options, s string) (err error) { *at(o), err = parseGravity(s, smart); return },
		write: func(o *Options) string { return printGravity(*at(o)) },
	}
}

func colorField(name, def, doc string, at func(*Options) **Color) Field {
	return Field{
		Name: name, Type: "string", Range: "rgb, rrggbb or rrggbbaa in hexadecimal, or white, black, transparent, red, green, blue, gray", Default: def, Doc: doc,
		read:  func(o *Options, s string) (err error) { *at(o), err = parseColor(s); return },
		write: func(o *Options) string { return printColor(*at(o)) },
	}
}

func readText(o *Options, s string) error {
	if len(s) > MaxTextBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, breaks) {
		return fmt.Errorf("expected at most %d bytes of UTF-8 on one line", MaxTextBytes)
	}
	o.Text.String = s
	return nil
}

// breaks tells characters that end a line or are no text.
func breaks(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) }

func readFit(o *Options, s string) error {
	for i, name := range geom.Fits() {
		if name == s {
			o.Fit = geom.Fit(i)
			return nil
		}
	}
	return fmt.Errorf("expected %s but received %q", strings.Join(geom.Fits(), ", "), clip(s))
}

func writeFit(o *Options) string {
	if o.Fit == geom.ScaleDown {
		return ""
	}
	return o.Fit.String()
}

var encodable = []string{"auto", "jpeg", "webp", "avif", "png", "gif", "jxl"}

func readFormat(o *Options, s string) error {
	f := format.Parse(s)
	if s != "auto" && !f.Encodable() {
		return fmt.Errorf("expected %s but received %q", strings.Join(encodable, ", "), clip(s))
	}
	o.Auto, o.Format = s == "auto", f
	return nil
}

func writeFormat(o *Options) string {
	switch {
	case o.Auto:
		return "auto"
	case o.Format == format.Unknown:
		return ""
	}
	return o.Format.String()
}
