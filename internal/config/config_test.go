package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"safelight/internal/node"
	"safelight/internal/postgres"
	"safelight/internal/publish"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "safelight.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, text string, environ ...string) Config {
	t.Helper()
	path := ""
	if text != "" {
		path = write(t, text)
	}
	c, err := Load(path, environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, "", "HOME=/root", "SAFELIGHT_CONFIG=x.yaml", "SAFELIGHTS=1", "")
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("%+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c := load(t, "# nothing\n"); !reflect.DeepEqual(c, Default()) {
		t.Errorf("an empty file: %+v", c)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := "listen: 0.0.0.0:80\ningest: {max_pages: 5, keys: id}\n"
	c := load(t, file, "SAFELIGHT_INGEST_MAX_PAGES=7", "SAFELIGHT_DATA=/srv=x")
	if c.Listen != "0.0.0.0:80" || c.Ingest.Keys != "id" || c.Ingest.MaxPages != 7 || c.Data != "/srv=x" || c.Ingest.MaxFiles != Default().Ingest.MaxFiles {
		t.Errorf("%+v, %+v", c, c.Ingest)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	d := Default()
	tests := []struct {
		name, file string
		environ    []string
		get        func(Config) any
		want       any
	}{
		{"size", "ingest: {max_file_bytes: 10MB}", nil, func(c Config) any { return c.Ingest.MaxFileBytes }, int64(10_000_000)},
		{"size in binary", "cache: {disk_bytes: 1.5 GiB}", nil, func(c Config) any { return c.Cache.DiskBytes }, int64(3 << 29)},
		{"size as a number", "ingest: {max_file_bytes: 123}", nil, func(c Config) any { return c.Ingest.MaxFileBytes }, int64(123)},
		{"size in the environment", "", []string{"SAFELIGHT_CACHE_MEMORY_BYTES=64MiB"}, func(c Config) any { return c.Cache.MemoryBytes }, int64(64 << 20)},
		{"number in the environment", "", []string{"SAFELIGHT_CACHE_MEMORY_BYTES=99"}, func(c Config) any { return c.Cache.MemoryBytes }, int64(99)},
		{"duration", "sweep: {grace: 1h30m}", nil, func(c Config) any { return c.Sweep.Grace }, 90 * time.Minute},
		{"no duration", "sweep: {grace: 0}", nil, func(c Config) any { return c.Sweep.Grace }, time.Duration(0)},
		{"duration in the environment", "", []string{"SAFELIGHT_RENDER_QUEUE_WAIT=250ms"}, func(c Config) any { return c.Render.QueueWait }, 250 * time.Millisecond},
		{"yes", "ingest: {strict: true}", nil, func(c Config) any { return c.Ingest.Strict }, true},
		{"yes in the environment", "", []string{"SAFELIGHT_INGEST_STRICT=true"}, func(c Config) any { return c.Ingest.Strict }, true},
		{"squashed", "render: {max_frames: 3}", nil, func(c Config) any { return c.Render.Plan.MaxFrames }, 3},
		{"list", "render: {auto_formats: [webp]}", nil, func(c Config) any { return c.Render.Plan.AutoFormats }, []string{"webp"}},
		{"empty list", "render: {auto_formats: []}", nil, func(c Config) any { return len(c.Render.Plan.AutoFormats) }, 0},
		{"list in the environment", "", []string{"SAFELIGHT_RENDER_AUTO_FORMATS=[webp, avif, png]"}, func(c Config) any { return c.Render.Plan.AutoFormats }, []string{"webp", "avif", "png"}},
		{"map goes over the default", "render: {effort: {webp: 5}}", nil, func(c Config) any { return c.Render.Plan.Effort }, map[string]int{"webp": 5, "avif": d.Render.Plan.Effort["avif"], "png": d.Render.Plan.Effort["png"]}},
		{"map in the environment", "presets: {a: w=1}", []string{"SAFELIGHT_PRESETS={b: w=2&fit=cover}"}, func(c Config) any { return c.Presets }, map[string]string{"a": "w=1", "b": "w=2&fit=cover"}},
		{"keys", "auth: {keys: [{name: x, token: t, owner: o, scopes: [read]}]}", nil, func(c Config) any { return string(c.Auth.Keys[0].Token) + c.Auth.Keys[0].Owner }, "to"},
		{"keys of remote sources", "remote: {keys: [a, '012'], ttl: 1h, hosts: [x]}", nil, func(c Config) any {
			return string(c.Remote.Shown.Keys[0]+c.Remote.Shown.Keys[1]) + c.Remote.Origin.Hosts[0] + c.Remote.Shown.TTL.String()
		}, "a012x1h0m0s"},
		{"one key in the environment", "", []string{"SAFELIGHT_REMOTE_KEYS=12345678901234567890123456789012"}, func(c Config) any { return string(c.Remote.Shown.Keys[0]) }, "12345678901234567890123456789012"},
		{"keys in the environment", "", []string{"SAFELIGHT_AUTH_KEYS=[{name: x, token: '0123', scopes: [read, upload]}]"}, func(c Config) any { return string(c.Auth.Keys[0].Token) + c.Auth.Keys[0].Scopes[1] }, "0123upload"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.get(load(t, c.file, c.environ...)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v; want %v", got, c.want)
			}
		})
	}
	if !reflect.DeepEqual(d, Default()) {
		t.Error("the defaults were changed by loading")
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		environ    []string
		part       string
	}{
		{"misspelt", "ingest: {max_page: 5}", nil, "max_page"},
		{"misspelt section", "injest: {max_pages: 5}", nil, "injest"},
		{"misspelt in a list", "auth: {keys: [{tokens: x}]}", nil, "tokens"},
		{"misspelt in the environment", "", []string{"SAFELIGHT_INGEST_MAX_PAGE=5"}, "SAFELIGHT_INGEST_MAX_PAGE is not a setting"},
		{"section in the environment", "", []string{"SAFELIGHT_INGEST={max_pages: 5}"}, "SAFELIGHT_INGEST is not a setting"},
		{"lower case in the environment", "", []string{"SAFELIGHT_data=x"}, "SAFELIGHT_data is not a setting"},
		{"key that is a number", "remote: {keys: [12345678901234567890123456789012]}", nil, "must stand in quotes"},
		{"broken file", "ingest: [", nil, "safelight.yaml"},
		{"a name twice", "data: a\ndata: b\n", nil, "safelight.yaml"},
		{"broken list", "", []string{"SAFELIGHT_RENDER_AUTO_FORMATS=[webp"}, "SAFELIGHT_RENDER_AUTO_FORMATS"},
		{"word for a number", "ingest: {max_pages: many}", nil, "max_pages"},
		{"size of what", "ingest: {max_file_bytes: 10 bananas}", nil, "expected a size such as 100MB"},
		{"no size", "", []string{"SAFELIGHT_INGEST_MAX_FILE_BYTES="}, "expected a size"},
		{"duration without a unit", "sweep: {grace: 30}", nil, "expected a duration such as 30s"},
		{"duration without a unit, in the environment", "", []string{"SAFELIGHT_SWEEP_GRACE=30"}, "unit"},
		{"list for a number", "ingest: {max_pages: [1, 2]}", nil, "max_pages"},
		{"a part of a file", "ingest: {max_pages: 1.5}", nil, "max_pages"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Load(write(t, c.file), c.environ); err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%v; want %q in it", err, c.part)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil {
		t.Error("a missing file is taken")
	}
}

func TestEverySettingHasAName(t *testing.T) {
	t.Parallel()
	all := leaves(reflect.TypeFor[Config](), "")
	if len(all) < 30 {
		t.Errorf("only %d settings: %q", len(all), all)
	}
	seen := make(map[string]string)
	for _, leaf := range all {
		env := prefix + strings.ToUpper(strings.ReplaceAll(leaf, ".", "_"))
		if other, taken := seen[env]; taken || notSettings[env] {
			t.Errorf("%s is %s and %s", env, other, leaf)
		}
		seen[env] = leaf
		if strings.Trim(env, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			t.Errorf("%s is no name for a variable", env)
		}
	}
	checkTagged(t, reflect.TypeFor[Config](), "")
}

// checkTagged fails on settings that nothing can set.
func checkTagged(t *testing.T, typ reflect.Type, at string) {
	t.Helper()
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag := f.Tag.Get("koanf")
		if tag == "" {
			t.Errorf("%s.%s has no name", at, f.Name)
		}
		if f.Type.Kind() == reflect.Struct {
			checkTagged(t, f.Type, at+"."+f.Name)
		}
	}
}

// TestEverySettingIsRead sets each to what it is by default, through the
// environment, as Print writes it.
func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	printed := tree(reflect.ValueOf(Default())).(map[string]any)
	for _, leaf := range leaves(reflect.TypeFor[Config](), "") {
		var v any = printed
		for part := range strings.SplitSeq(leaf, ".") {
			m, ok := v.(map[string]any)
			if !ok || m[part] == nil {
				t.Fatalf("%s is not printed", leaf)
			}
			v = m[part]
		}
		if kind := reflect.TypeOf(v).Kind(); kind == reflect.Map || kind == reflect.Slice {
			continue
		}
		env := prefix + strings.ToUpper(strings.ReplaceAll(leaf, ".", "_"))
		if c, err := Load("", []string{env + "=" + fmt.Sprint(v)}); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s=%v: %v", env, v, err)
		}
	}
}

func TestPrintIsReadBack(t *testing.T) {
	t.Parallel()
	c := load(t, "auth: {keys: [{name: ci, token: 'hunter2-hunter2-hunter2', owner: shop, scopes: [upload, read]}]}\npresets: {thumb: w=1&fit=cover, 'other one': q=5}\nsweep: {grace: 90m}\ningest: {strict: true, max_file_bytes: 5GiB}\nrender: {auto_formats: [], quality: {png: 3}}\n")
	var text bytes.Buffer
	if err := c.Print(&text); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "hunter2") || !strings.Contains(text.String(), "***") {
		t.Errorf("the token is shown:\n%s", &text)
	}
	back, err := Load(write(t, text.String()), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, &text)
	}
	c.Auth.Keys = slices.Clone(c.Auth.Keys)
	c.Auth.Keys[0].Token = "***"
	var first, second bytes.Buffer
	_, _ = c.Print(&first), back.Print(&second)
	if first.String() != second.String() || back.Sweep != c.Sweep || back.Ingest != c.Ingest || !reflect.DeepEqual(back.Presets, c.Presets) || !reflect.DeepEqual(back.Auth, c.Auth) {
		t.Errorf("%s\nis read back as\n%s", &first, &second)
	}
	if back.Validate() == nil {
		t.Error("a hidden token is taken for a token")
	}
}

func TestValidateTellsEverything(t *testing.T) {
	t.Parallel()
	c := load(t, "data: ''\nnode: a/b\ningest: {max_pages: 0, keys: x}\nrender: {queue: 0}\ncache: {disk_bytes: 1}\nsweep: {every: 0s}\npresets: {bad: w=wide}\nauth: {keys: [{token: x}]}\n")
	err := c.Validate()
	for _, part := range []string{"data must name", "ingest.max_pages", "ingest.keys", "render:", "cache:", "sweep:", "presets.bad: w: expected", "auth.keys: key 1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nlacks %s", err, part)
		}
	}
}

func TestValidateNode(t *testing.T) {
	t.Parallel()
	for node, ok := range map[string]bool{"node": true, "web-1.example": true, "": false, "a/b": false, `a\b`: false, ".": false, "..": false, ".x": false} {
		c := Default()
		c.Node = node
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", node, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1B": 1, "1kB": 1000, "1KB": 1000, "1KiB": 1024, " 2 MB ": 2_000_000, "1.5MiB": 3 << 19, "1GB": 1e9, "2GiB": 2 << 30,
		"1TB": 1e12, "4TiB": 4 << 40, "1e3": 1000, "9007199254740993": 9007199254740993, "4611686018427387904": 1 << 62,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1 PB", "1mb", "1MBB", "NaN", "Inf", "1e300", "1 2", "1,5MB", "0x10", "1_000", "5000000TiB", "1K"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1.5 GiB", "1e3kB", "NaN", "0x1p4", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := ParseSize(text); err == nil && v < 0 {
			t.Fatalf("%q is %d", text, v)
		}
	})
}

func TestPresetNamesMayHaveDots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("presets: {v1.thumb: w=50}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, nil)
	if err != nil || c.Presets["v1.thumb"] != "w=50" {
		t.Errorf("the presets are %v, %v", c.Presets, err)
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range leaves(reflect.TypeFor[Config](), "") {
		if !strings.Contains(string(doc), "`"+leaf+"`") {
			t.Errorf("docs/settings.md lacks %s", leaf)
		}
	}
}

func TestBucketsAreChecked(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"s3://bucket/a?region=x": "", "oss://bucket?region=x": "", "s3://bucket?secret=hush": "there is no parameter", "oss://bucket": "region is missing",
		"s3://id:hush@bucket": "environment", "gs://bucket?secret=hush": "gs://",
	} {
		c := Default()
		c.Publish.Destinations = map[string]publish.Destination{"archive": {URL: url}}
		err := c.Validate()
		if says == "" && err != nil || says != "" && (err == nil || strings.Count(err.Error(), says) != 1 || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v; want %q once", url, err, says)
		}
	}
}

func TestRedisIsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ []string
		says    string
	}{
		{nil, ""},
		{[]string{"SAFELIGHT_REDIS_TIMEOUT=0s"}, ""}, // without a URL there is no Redis
		{[]string{"SAFELIGHT_REDIS_URL=redis+sentinel://:hush@a,b/main", "SAFELIGHT_REDIS_MAX_BYTES=1MiB"}, ""},
		{[]string{"SAFELIGHT_REDIS_URL=redis+sentinel://:hush@a,b"}, "redis.url: the path must name the master"},
		{[]string{"SAFELIGHT_REDIS_URL=redis://:hush@a", "SAFELIGHT_REDIS_TIMEOUT=0s"}, "redis.timeout: 0s"},
		{[]string{"SAFELIGHT_REDIS_URL=redis://:hush@a", "SAFELIGHT_REDIS_TTL=0s"}, "redis.ttl: 0s"},
		{[]string{"SAFELIGHT_REDIS_URL=redis://:hush@a", "SAFELIGHT_REDIS_MAX_BYTES=17MiB"}, "redis.max_bytes"},
		{[]string{"SAFELIGHT_REDIS_URL=redis://:hush@a", "SAFELIGHT_REDIS_LEASE=1ms"}, "redis.lease: 1ms"},
		{[]string{"SAFELIGHT_REDIS_URL=redis://:hush@a", "SAFELIGHT_REDIS_CATALOG_TTL=25h"}, "redis.catalog_ttl: 25h"},
	} {
		config, err := Load("", c.environ)
		if err != nil {
			t.Fatal(err)
		}
		var printed strings.Builder
		if err := config.Print(&printed); err != nil {
			t.Fatal(err)
		}
		err = config.Validate()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v; want %q", c.environ, err, c.says)
		}
		if strings.Contains(printed.String()+fmt.Sprintf("%+v %v", config, err), "hush") {
			t.Errorf("%v: the password is shown", c.environ)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	archive := func(url string) map[string]publish.Destination {
		return map[string]publish.Destination{"archive": {URL: url}}
	}
	for _, c := range []struct {
		store Store
		to    string // a destination
		says  string // "" is fine
	}{
		{Store{}, "", ""},
		{Store{Sources: "s3://b/x?region=r"}, "s3://b/y?region=r", ""},
		{Store{Sources: "s3://b/x?region=r", Renditions: "s3://b/y?region=r"}, "", ""},
		{Store{Sources: "file:///mnt/shared/pictures"}, "file:///mnt/shared/published", ""},
		{Store{Renditions: "oss://b?region=r"}, "", ""},
		{Store{Sources: "s3://b/x?region=r"}, "s3://b?region=r", "destinations.archive: s3://b and store.sources (s3://b/x) must not lie in one another"},
		{Store{Sources: "s3://b?region=r"}, "s3://b/y?region=r", "must not lie in one another"},
		{Store{Renditions: "file:///mnt/r"}, "file:///mnt/r/x", "store.renditions (/mnt/r)"},
		{Store{Sources: "s3://b/x?region=r", Renditions: "s3://b/x/y?region=r"}, "", "store.renditions: s3://b/x/y and store.sources (s3://b/x)"},
		{Store{Sources: "file:///srv/data/x"}, "", "store.sources: /srv/data/x and the data directory (/srv/data)"},
		{Store{Sources: "file:///srv"}, "", "must not lie in one another"},
		{Store{Sources: "/mnt/shared"}, "", "store.sources: url: expected an address"},
		{Store{Sources: "file://mnt/shared"}, "", "store.sources: url: expected three slashes"},
		{Store{Renditions: "s3://id:hush@b"}, "", "store.renditions: url: an address must not have a user"},
		{Store{Sources: "s3://b?secret=hush"}, "", "store.sources: url: there is no parameter"},
		{Store{Sources: "oss://b"}, "", "store.sources: url: the region is missing"},
		{Store{CacheBytes: 1}, "", "store.cache_bytes is 1; expected at least 64 MiB"},
	} {
		config := Default()
		config.Data = "/srv/data"
		if c.store.CacheBytes == 0 {
			c.store.CacheBytes = DefaultStore().CacheBytes
		}
		if config.Store = c.store; c.to != "" {
			config.Publish.Destinations = archive(c.to)
		}
		err := config.Validate()
		if c.says == "" && err != nil || c.says != "" && (err == nil || strings.Count(err.Error(), c.says) != 1 || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%+v, %s: %v; want %q once", c.store, c.to, err, c.says)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	const database = "postgres://a:b@c/d"
	for name, c := range map[string]struct{ role, database, advertise, says string }{
		"alone":               {role: "all"},
		"not said":            {},
		"a worker":            {role: "worker", database: database, advertise: "10.0.0.5:80"},
		"front":               {role: "api", database: database},
		"a worker alone":      {role: "worker", says: "role: worker is for nodes that share a database"},
		"front alone":         {role: "api", says: "role: api is for nodes that share a database"},
		"no role":             {role: "boss", database: database, says: "role: expected all, api or worker"},
		"address without one": {advertise: "10.0.0.5", says: "advertise: expected a host with a port"},
	} {
		config := Default()
		config.Role, config.Database.URL, config.Advertise = node.Role(c.role), postgres.URL(c.database), c.advertise
		err := config.Validate()
		if c.says == "" && err != nil || c.says != "" && (err == nil || strings.Count(err.Error(), c.says) != 1) {
			t.Errorf("%s: %v; want %q once", name, err, c.says)
		}
	}
}
