// Package config puts the configuration together: defaults, then the file, then
// the environment, then flags. It alone reads the environment.
package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	goyaml "go.yaml.in/yaml/v3"

	"safelight/internal/auth"
	"safelight/internal/cdkblob"
	"safelight/internal/codec"
	"safelight/internal/guetzli"
	"safelight/internal/httpapi"
	"safelight/internal/ingest"
	"safelight/internal/mirror"
	"safelight/internal/node"
	"safelight/internal/objectblob"
	"safelight/internal/options"
	"safelight/internal/origin"
	"safelight/internal/ossblob"
	"safelight/internal/pipeline"
	"safelight/internal/postgres"
	"safelight/internal/publish"
	"safelight/internal/purge"
	"safelight/internal/redis"
	"safelight/internal/rediscache"
	"safelight/internal/rediscatalog"
	"safelight/internal/redisturn"
	"safelight/internal/remote"
	"safelight/internal/render"
	"safelight/internal/sealblob"
	"safelight/internal/telemetry"
	"safelight/internal/work"
)

// Config is every setting. Names in the file and the environment are the koanf
// tags: ingest.max_pages is SAFELIGHT_INGEST_MAX_PAGES.
type Config struct {
	Data       string              `koanf:"data"`   // directory
	Listen     string              `koanf:"listen"` // address of the HTTP server
	Node       string              `koanf:"node"`   // this node's name, unique among those that share a store
	Role       node.Role           `koanf:"role"`   // what this node is for; "" is all
	Database   postgres.Config     `koanf:"database"`
	HTTP       httpapi.Config      `koanf:"http"`
	Ingest     ingest.Config       `koanf:"ingest"`
	Render     render.Config       `koanf:"render"`
	Codec      codec.Config        `koanf:"codec"`
	Cache      Cache               `koanf:"cache"`
	Sweep      purge.SweepConfig   `koanf:"sweep"`
	Auth       Auth                `koanf:"auth"`
	Presets    map[string]string   `koanf:"presets"`
	Pipeline   pipeline.Config     `koanf:"pipeline"`
	Publish    publish.Config      `koanf:",squash"`
	Objects    objectblob.Config   `koanf:"objects"`
	Store      Store               `koanf:"store"`
	Remote     Remote              `koanf:"remote"`
	Mirror     mirror.Config       `koanf:",squash"`
	Encryption sealblob.Config     `koanf:"encryption"`
	Guetzli    guetzli.Config      `koanf:"guetzli"`
	Tasks      work.Config         `koanf:"tasks"`
	Redis      Redis               `koanf:"redis"`
	Log        telemetry.LogConfig `koanf:"log"`

	Advertise string `koanf:"advertise"` // host:port at which other machines reach this node; "" is where it listens
}

// Cache sets the budgets for finished renditions.
type Cache struct {
	MemoryBytes int64 `koanf:"memory_bytes"`
	DiskBytes   int64 `koanf:"disk_bytes"`
}

// Remote is what is fetched by URL, and what is shown of it.
type Remote struct {
	Origin origin.Config `koanf:",squash"`
	Shown  remote.Config `koanf:",squash"`
}

// Redis is the one that nodes share, and what they have in it.
type Redis struct {
	Connection redis.Config        `koanf:",squash"`
	Renditions rediscache.Config   `koanf:",squash"`
	Catalog    rediscatalog.Config `koanf:",squash"`
	Turns      redisturn.Config    `koanf:",squash"`
}

// validate tells everything that is wrong, if there is a URL.
func (r Redis) validate() error {
	if r.Connection.URL == "" {
		return nil
	}
	return errors.Join(r.Connection.Validate(), r.Renditions.Validate(), r.Catalog.Validate(), r.Turns.Validate())
}

// Auth lists static keys.
type Auth struct {
	Keys []auth.Key `koanf:"keys"`
}

// Default is what is in force where nothing is configured.
func Default() Config {
	return Config{
		Data: "./data", Listen: "127.0.0.1:8080", Node: "node", Role: node.All,
		Database: postgres.DefaultConfig(), HTTP: httpapi.DefaultConfig(), Ingest: ingest.DefaultConfig(), Render: render.DefaultConfig(), Codec: codec.DefaultConfig(),
		Cache: Cache{MemoryBytes: 64 << 20, DiskBytes: 10 << 30}, Sweep: purge.DefaultSweepConfig(),
		Presets: map[string]string{}, Pipeline: pipeline.DefaultConfig(), Publish: publish.DefaultConfig(), Objects: objectblob.DefaultConfig(), Guetzli: guetzli.DefaultConfig(),
		Encryption: sealblob.DefaultConfig(),
		Remote:     Remote{Origin: origin.DefaultConfig(), Shown: remote.DefaultConfig()},
		Redis:      Redis{Connection: redis.DefaultConfig(), Renditions: rediscache.DefaultConfig(), Catalog: rediscatalog.DefaultConfig(), Turns: redisturn.DefaultConfig()},
		Store:      DefaultStore(),
		Tasks:      work.DefaultConfig(), Log: telemetry.LogConfig{Level: "info", Format: "text"},
	}
}

// prefix of environment variables.
const prefix = "SAFELIGHT_"

// delimiter of paths inside koanf: not a dot, which names of presets may have.
const delimiter = "\x1f"

// Load reads the file (none when path is "") and the environment over the
// defaults. Names that mean nothing are errors, since a misspelt limit would
// otherwise be no limit.
func Load(path string, environ []string) (Config, error) {
	c := Default()
	k := koanf.New(delimiter)
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return c, fmt.Errorf("configuration %s: %w", path, err)
		}
	}
	if err := loadEnviron(k, environ); err != nil {
		return c, err
	}
	err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), units, sizes),
	}})
	if err != nil {
		return c, fmt.Errorf("configuration: %s", inWords(err))
	}
	return c, nil
}

// inWords says what is wrong without the decoder's own phrases.
func inWords(err error) string {
	text := strings.ReplaceAll(err.Error(), "decoding failed due to the following error(s):\n\n", "")
	text = strings.ReplaceAll(text, "'' has invalid keys:", "there are no such settings:")
	text = regexp.MustCompile(`'([^']*)' has invalid keys:`).ReplaceAllString(text, "there are no such settings in $1:")
	return strings.ReplaceAll(text, "time: unknown unit", "expected a duration such as 90s, 30m or 120h; unknown unit")
}

// loadEnviron takes SAFELIGHT_* variables; lists and maps are written as YAML.
func loadEnviron(k *koanf.Koanf, environ []string) error {
	known := make(map[string]string)
	for _, leaf := range leaves(reflect.TypeFor[Config](), "") {
		known[prefix+strings.ToUpper(strings.ReplaceAll(leaf, ".", "_"))] = leaf
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix) || notSettings[name] {
			continue
		}
		leaf, ok := known[name]
		if !ok {
			return fmt.Errorf("environment: %s is not a setting", name)
		}
		var parsed any = value
		if strings.HasPrefix(strings.TrimSpace(value), "[") || strings.HasPrefix(strings.TrimSpace(value), "{") {
			if err := goyaml.Unmarshal([]byte(value), &parsed); err != nil {
				return fmt.Errorf("environment: %s: %w", name, err)
			}
		}
		if err := k.Set(strings.ReplaceAll(leaf, ".", delimiter), parsed); err != nil {
			return fmt.Errorf("environment: %s: %w", name, err)
		}
	}
	return nil
}

// notSettings are variables of that prefix which mean something else.
var notSettings = map[string]bool{
	"SAFELIGHT_CORPUS": true, "SAFELIGHT_CODEC_CHILD": true, "SAFELIGHT_CONFIG": true, "SAFELIGHT_CRASH_CYCLES": true,
	"SAFELIGHT_SERVER": true, "SAFELIGHT_KEY": true, "SAFELIGHT_TEST_OSS_URL": true,
}

// leaves lists the dotted names of all settings.
func leaves(t reflect.Type, at string) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		if tag == "-" || tag == "" && option == "" {
			continue
		}
		name := at
		if tag != "" {
			name = strings.TrimPrefix(at+"."+tag, ".")
		}
		if f.Type.Kind() == reflect.Struct {
			names = append(names, leaves(f.Type, name)...)
			continue
		}
		names = append(names, name)
	}
	return names
}

// units refuses what would be cut or misread in silence: a duration that is a
// bare number, which would count nanoseconds, and a fraction of a whole number.
func units(_, to reflect.Type, value any) (any, error) {
	if to == reflect.TypeFor[time.Duration]() {
		if v := reflect.ValueOf(value); v.Type() != to && !v.IsZero() {
			return nil, fmt.Errorf("expected a duration such as 30s or 1h30m but received %v", value)
		}
		return value, nil
	}
	if _, ok := value.(float64); ok && to == reflect.TypeFor[auth.Secret]() {
		return nil, errors.New("a secret of digits only must stand in quotes, or it is read as a number")
	}
	if v, ok := value.(float64); ok && (to.Kind() == reflect.Int || to.Kind() == reflect.Int64) && v != math.Trunc(v) {
		return nil, fmt.Errorf("expected a whole number but received %v", v)
	}
	return value, nil
}

// sizes lets whole numbers be written with a unit: 100MB, 1GiB.
func sizes(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || to.Kind() != reflect.Int64 || to.PkgPath() == "time" {
		return value, nil
	}
	return ParseSize(text)
}

// Validate tells everything that is wrong, not only the first.
func (c Config) Validate() error {
	errs := []error{
		c.HTTP.Validate(), c.Ingest.Validate(), c.Render.Validate(), c.Codec.Validate(), c.Log.Validate(), c.Tasks.Validate(),
		c.Pipeline.Validate(c.Presets), c.Publish.Validate(slices.Sorted(maps.Keys(c.Presets))...), c.Guetzli.Validate(), c.Database.Validate(), c.Objects.Validate(),
		c.Remote.Origin.Validate(), c.Remote.Shown.Validate(), c.Encryption.Validate(), c.Store.Validate(), c.Mirror.Validate(), c.Redis.validate(),
	}
	if data, err := filepath.Abs(c.Data); err == nil {
		places, err := c.Store.places(data)
		errs = append(errs, err, c.places().CheckPlaces(places...))
	}
	for name, d := range c.Publish.Destinations {
		if d.Encrypt && len(c.Encryption.Keys) == 0 {
			errs = append(errs, fmt.Errorf("destinations.%s: encrypt needs encryption.keys", name))
		}
		alone := publish.Config{Destinations: map[string]publish.Destination{name: d}}
		if alone.Validate() != nil {
			continue // that was told
		}
		if err := checkBucket(d.URL); err != nil {
			errs = append(errs, fmt.Errorf("destinations.%s: %w", name, err))
		}
	}
	for name, m := range c.Mirror.Mirrors {
		if _, both := c.Publish.Destinations[name]; both {
			errs = append(errs, fmt.Errorf("mirrors.%s: a destination has this name", name))
		}
		if err := checkBucket(m.URL); err != nil {
			errs = append(errs, fmt.Errorf("mirrors.%s: %w", name, err))
		}
	}
	if _, err := auth.NewStatic(c.Auth.Keys); err != nil {
		errs = append(errs, err)
	}
	for name, query := range c.Presets {
		if _, err := options.Parse(query); err != nil {
			errs = append(errs, fmt.Errorf("presets.%s: %w", name, err))
		}
	}
	if c.Cache.MemoryBytes < 1<<20 || c.Cache.DiskBytes < 1<<20 {
		errs = append(errs, errors.New("cache: memory_bytes and disk_bytes must be at least 1 MiB"))
	}
	if c.Sweep.Every < time.Millisecond || c.Sweep.Grace < 0 || c.Sweep.TempAge < 0 || c.Sweep.ReplayKept < 0 {
		errs = append(errs, errors.New("sweep: every must be at least 1ms and the other times not negative"))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: expected an address with a port such as 127.0.0.1:8080 but received %q", c.Listen))
	}
	if c.Data == "" || c.Node == "" || strings.ContainsAny(c.Node, `/\`) || strings.HasPrefix(c.Node, ".") {
		errs = append(errs, errors.New("data must name a directory, and node must be a plain file name"))
	}
	return errors.Join(append(errs, c.checkNode())...)
}

// checkNode tells what is wrong with what a node tells of itself.
func (c Config) checkNode() error {
	errs := []error{c.Role.Validate()}
	if c.Role.Validate() == nil && c.Role != "" && c.Role != node.All && c.Database.URL == "" {
		errs = append(errs, fmt.Errorf("role: %s is for nodes that share a database (database.url); without one a node has to do everything", c.Role))
	}
	if _, port, err := net.SplitHostPort(c.Advertise); c.Advertise != "" && (err != nil || port == "") {
		errs = append(errs, fmt.Errorf("advertise: expected a host with a port such as 10.0.0.5:8080 but received %q", c.Advertise))
	}
	return errors.Join(errs...)
}

// places are the destinations and the mirrors, none of which may lie in another.
func (c Config) places() publish.Config {
	all := publish.Config{Destinations: maps.Clone(c.Publish.Destinations)}
	if all.Destinations == nil {
		all.Destinations = map[string]publish.Destination{}
	}
	for name, m := range c.Mirror.Mirrors {
		all.Destinations["mirror "+name] = publish.Destination{URL: m.URL}
	}
	return all
}

// checkBucket tells what is wrong with the address of a bucket, beyond what every
// destination's must be.
func checkBucket(address string) error {
	switch scheme, _, _ := strings.Cut(address, "://"); scheme {
	case "s3", "gs", "azblob":
		return cdkblob.Check(address)
	case "oss":
		return ossblob.Check(address)
	}
	return nil
}

// Environ is the process's environment.
func Environ() []string { return os.Environ() }
