package optimize

import (
	"path/filepath"
	"strings"
	"sync"

	"safelight/internal/fault"
	"safelight/internal/format"
)

// named is the name of a result in format to: the source's, with another
// extension where the format is another. What is no picture's extension is part
// of the name, and stays.
func named(rel string, from, to format.Format) string {
	if from == to {
		return rel
	}
	dir, base := filepath.Split(rel)
	if ext := filepath.Ext(base); ext != base && pictorial(ext) {
		base = strings.TrimSuffix(base, ext)
	}
	return dir + base + "." + to.Ext()
}

// pictorial tells extensions of pictures, with their dot.
func pictorial(ext string) bool {
	ext = strings.ToLower(strings.TrimPrefix(ext, "."))
	switch ext {
	case "jpe", "jfif", "apng", "hif":
		return true
	}
	return format.Parse(ext) != format.Unknown
}

// names are the results that are taken, by path, with whose they are. Safe for
// concurrent use.
type names struct {
	mu    sync.Mutex
	taken map[string]string
}

// take claims a name for a source, and tells whether it is its.
func (n *names) take(name, source string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken == nil {
		n.taken = make(map[string]string)
	}
	if owner, ok := n.taken[name]; ok {
		return owner == source
	}
	n.taken[name] = source
	return true
}

func (n *names) clash(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fault.New(fault.Conflict, "its result would be %s, which is that of %s", name, n.taken[name])
}

// wanted is the path of a source's result as far as it is known beforehand: ""
// where nothing is written to a directory, or the format depends on the outcome.
func (r *run) wanted(s Source) string {
	if r.Out == "" || r.Auto {
		return ""
	}
	return filepath.Join(r.Out, named(s.Rel, s.Format, r.target(s.Format)))
}

// target is the format that a source of format is becomes, without Auto.
func (c Config) target(is format.Format) format.Format {
	switch {
	case c.Format != format.Unknown:
		return c.Format
	case is.Encodable():
		return is
	}
	return format.JPEG
}
