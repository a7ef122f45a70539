// Package internal_test holds the table of layers: which packages there are,
// and that imports go down only.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers lists every package, lowest layer first. A package may import those
// of lower layers, and of its own only where a pair below says so.
var layers = [][]string{
	0: {"fault", "geom", "format", "fastlane"},
	1: {"asset", "options", "scrub"},
	2: {"blob", "cache", "catalog", "catalog/stored", "task", "node", "auth", "quality", "plan", "dialect/native", "metric", "metric/butteraugli"},
	3: {"ingest", "render", "purge", "recall", "recompress", "publish", "work", "pipeline", "remote", "carry", "mirror"},
	4: {"diskblob", "treeblob", "blobcache", "breaker", "objectblob", "cdkblob", "ossblob", "sealblob", "sqlite", "postgres", "memcache", "diskcache", "vips", "codec", "codec/wire", "codec/sandbox", "codec/worker", "guetzli", "encoder/jpeg", "encoder/jxl", "origin", "redis", "rediscache", "rediscatalog", "redisnews", "redisturn"},
	5: {"httpapi", "httpapi/taskapi", "httpapi/nodeapi", "client", "optimize", "adopt", "blobcopy"},
	6: {"config", "telemetry", "app", "cli"},
}

// suites are test packages that other packages' tests import.
var suites = []string{"blob/blobtest", "cdkblob/s3test", "cache/cachetest", "catalog/catalogtest", "task/tasktest", "node/nodetest", "metric/metrictest", "postgres/pgtest", "redis/redistest", "faultproxy", "e2e"}

// within are the imports inside one layer.
var within = map[string][]string{
	"format":         {"fault"},
	"geom":           {},
	"options":        {"asset"},
	"catalog":        {"task"},
	"catalog/stored": {"catalog", "task"},
	"plan":           {"quality"},
	"remote":         {"ingest", "purge"},
	"mirror":         {"ingest", "publish", "purge", "work"},
	"pipeline":       {"render", "publish", "purge", "recompress", "work"},
	"objectblob":     {"breaker"},
	"postgres":       {"breaker"},
	"cdkblob":        {"objectblob", "breaker"},
	"ossblob":        {"objectblob", "breaker"},
	"redis":          {"breaker"},
	"rediscache":     {"redis"},
	"rediscatalog":   {"redis"},
	"redisnews":      {"redis"},
	"redisturn":      {"redis"},
	"codec":          {"codec/wire", "codec/sandbox"},
	"codec/wire":     {"codec/sandbox"},
	"codec/worker":   {"codec/wire", "codec/sandbox", "vips", "encoder/jpeg", "encoder/jxl"},
	"httpapi":        {"httpapi/nodeapi", "httpapi/taskapi"},
	"client":         {"httpapi/nodeapi", "httpapi/taskapi"},
	"adopt":          {"client"},
	"app":            {"config", "telemetry"},
	"config":         {"telemetry"},
	"cli":            {"app", "config", "telemetry"},

	"metric/butteraugli": {"metric"},
}

// keep lists imports that belong to few packages.
var keep = map[string][]string{
	"C":                             {"vips", "encoder/jxl"},
	"github.com/mattn/go-sqlite3":   {"sqlite"},
	"github.com/jackc/pgx/":         {"postgres"},
	"github.com/pressly/goose/":     {"sqlite", "postgres"},
	"github.com/prometheus/":        {"telemetry"},
	"github.com/danielgtaylor/huma": {"httpapi", "httpapi/nodeapi", "httpapi/taskapi"},
	"github.com/knadh/koanf":        {"config"},
	"github.com/robfig/cron":        {"work"},
	"github.com/redis/":             {"redis"},
	"gocloud.dev":                   {"cdkblob"},
	"github.com/aws/":               {"cdkblob"},
	"github.com/Azure/":             {"cdkblob"},
	"cloud.google.com/go/":          {"cdkblob"},
	"google.golang.org/api":         {"cdkblob"},
	"github.com/aliyun/":            {"ossblob"},
	"github.com/alecthomas/kong":    {"cli"},
	"github.com/fsnotify/":          {"adopt"},
	"net/http":                      {"httpapi", "httpapi/nodeapi", "httpapi/taskapi", "client", "telemetry", "app", "fastlane", "objectblob", "cdkblob", "ossblob", "origin"},
	"golang.org/x/net/":             {"origin"},
	"os/exec":                       {"codec", "guetzli"},
}

func TestLayers(t *testing.T) {
	level := make(map[string]int)
	for n, packages := range layers {
		for _, p := range packages {
			level[p] = n
		}
	}
	seen := make(map[string]bool)
	walk(t, func(pkg, file string, imports []string) {
		seen[pkg] = true
		if slices.Contains(suites, pkg) {
			return
		}
		own, ok := level[pkg]
		if !ok {
			t.Errorf("%s: the package %s is not in the table of layers", file, pkg)
			return
		}
		for _, path := range imports {
			checkKept(t, pkg, file, path)
			to, ours := strings.CutPrefix(path, "safelight/internal/")
			if !ours {
				continue
			}
			other, ok := level[to]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which is not in the table of layers", file, to)
			case other > own || other == own && !slices.Contains(within[pkg], to):
				t.Errorf("%s imports %s: imports go down only (layer %d to %d)", file, to, own, other)
			}
		}
	})
	for p := range level {
		if !seen[p] {
			t.Errorf("the table of layers lists %s, which does not exist", p)
		}
	}
}

func checkKept(t *testing.T, pkg, file, path string) {
	t.Helper()
	for prefix, owners := range keep {
		if (path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) || prefix != "C" && strings.Contains(prefix, ".") && strings.HasPrefix(path, prefix)) && !slices.Contains(owners, pkg) {
			t.Errorf("%s imports %s, which belongs to %v", file, path, owners)
		}
	}
}

// walk parses the imports of every file that is not a test. It reads the files
// itself, so that the result is never one of an older tree.
func walk(t *testing.T, visit func(pkg, file string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || path == "layers_test.go" {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if strings.HasSuffix(path, "_test.go") {
			if slices.Contains(suites, pkg) {
				visit(pkg, path, nil)
			}
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		visit(pkg, path, imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
