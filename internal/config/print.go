package config

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	goyaml "go.yaml.in/yaml/v3"
)

// ParseSize reads a whole number of bytes or of anything, with an optional
// unit: kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).
func ParseSize(text string) (int64, error) {
	text = strings.TrimSpace(text)
	number := strings.TrimRight(text, "kKMGTiB ")
	unit := strings.TrimSpace(text[len(number):])
	factors := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
	factor, ok := factors[unit]
	if v, err := strconv.ParseInt(number, 10, 64); ok && err == nil && v >= 0 && v <= maxSize/factor {
		return v * factor, nil // exactly, where a float would round
	}
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || strings.ContainsAny(number, "xX_") || !(v >= 0 && v*float64(factor) <= maxSize) {
		return 0, fmt.Errorf("expected a size such as 100MB or 1GiB but received %q", text)
	}
	return int64(v * float64(factor)), nil
}

// maxSize is the largest size that can be written.
const maxSize = 1 << 62

// Print writes the configuration as a file that could be loaded again, with
// tokens hidden.
func (c Config) Print(w io.Writer) error {
	enc := goyaml.NewEncoder(w)
	enc.SetIndent(2)
	defer enc.Close()
	return enc.Encode(tree(reflect.ValueOf(c)))
}

// tree turns a struct into maps by the koanf tags.
func tree(v reflect.Value) any {
	if s, ok := v.Interface().(fmt.Stringer); ok { // durations, secrets
		return s.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		out := make(map[string]any)
		fill(out, v)
		return out
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

func fill(out map[string]any, v reflect.Value) {
	for i := range v.NumField() {
		tag, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("koanf"), ",")
		switch {
		case option == "squash":
			fill(out, v.Field(i))
		case tag != "" && tag != "-":
			out[tag] = tree(v.Field(i))
		}
	}
}
