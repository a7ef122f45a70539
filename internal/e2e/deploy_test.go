package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	goyaml "go.yaml.in/yaml/v3"

	"safelight/internal/config"
)

// deployed is a file under deploy/.
func deployed(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// compose is the part of the compose format that we use; anything else is
// refused.
type compose struct {
	Node        service           `yaml:"x-node"`
	Environment map[string]string `yaml:"x-node-environment"`
	Services    map[string]service
	Networks    map[string]struct {
		IPAM struct{ Config []struct{ Subnet string } }
	}
	Volumes map[string]struct{}
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Entrypoint  []string
	Restart     string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Networks    map[string]struct {
		IPv4Address string `yaml:"ipv4_address"`
	}
	Healthcheck *struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	StopGracePeriod string `yaml:"stop_grace_period"`
}

// variable is a place for one in compose.yaml: ${NAME}, ${NAME:?message} or
// ${NAME:-default}.
var variable = regexp.MustCompile(`\$\{(\w+)(:[?-])?([^}]*)\}`)

// loadCompose reads compose.yaml with the example's secrets.
func loadCompose(t *testing.T) compose {
	t.Helper()
	secrets := make(map[string]string)
	for scan := bufio.NewScanner(bytes.NewReader(deployed(t, "compose", ".env.example"))); scan.Scan(); {
		if name, value, ok := strings.Cut(scan.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			secrets[name] = value
		}
	}
	text := variable.ReplaceAllStringFunc(string(deployed(t, "compose", "compose.yaml")), func(place string) string {
		part := variable.FindStringSubmatch(place)
		if value := secrets[part[1]]; value != "" {
			return value
		}
		if part[2] != ":-" {
			t.Errorf(".env.example lacks %s", part[1])
		}
		return part[3]
	})
	var c compose
	dec := goyaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompose: what deploy/compose says hangs together. No container engine is
// needed, so what only one can tell is not checked.
func TestCompose(t *testing.T) {
	t.Parallel()
	c := loadCompose(t)
	for name, s := range c.Services {
		if s.Image == "" || s.Restart == "" || s.Healthcheck == nil && s.Build.Dockerfile == "" {
			t.Errorf("%s lacks an image, a restart policy or a health check: %+v", name, s)
		}
		for other, on := range s.DependsOn {
			if _, ok := c.Services[other]; !ok || on.Condition != "service_healthy" {
				t.Errorf("%s depends on %s, %s", name, other, on.Condition)
			}
		}
		for _, v := range s.Volumes {
			from, _, mounted := strings.Cut(v, ":")
			if !mounted { // a volume without a name
				continue
			}
			_, named := c.Volumes[from]
			_, err := os.Stat(filepath.Join("..", "..", "deploy", "compose", from))
			if !named && (!strings.HasPrefix(from, ".") || err != nil) {
				t.Errorf("%s mounts %s: %v", name, v, err)
			}
		}
		if s.Build.Dockerfile != "" {
			if _, err := os.Stat(filepath.Join("..", "..", "deploy", "compose", s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestComposedNodes: the server takes the configuration of each node, and nginx
// knows all of them.
func TestComposedNodes(t *testing.T) {
	t.Parallel()
	c := loadCompose(t)
	file := filepath.Join("..", "..", "deploy", "compose", "safelight.yaml")
	var names []string
	for name, s := range c.Services {
		if s.Build.Dockerfile == "" {
			continue
		}
		names = append(names, name)
		var environ []string
		for key, value := range s.Environment {
			environ = append(environ, key+"="+value)
		}
		got, err := config.Load(file, environ)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.Node != name || got.Advertise != name+":8080" || !strings.HasSuffix(got.Listen, ":8080") || got.Database.URL == "" || len(got.Auth.Keys) != 1 {
			t.Errorf("%s is configured as the node %s at %s and %s", name, got.Node, got.Listen, got.Advertise)
		}
		if got.Store.Sources == "" || got.Redis.Connection.URL == "" || !slices.Contains(s.Volumes, got.Data) {
			t.Errorf("%s has its pictures at %q, its caches at %s, and %q", name, got.Store.Sources, got.Data, got.Redis.Connection.URL)
		}
		cmd := exec.Command(binary, "config", "--config", file)
		cmd.Env = append(os.Environ(), environ...)
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "change-me") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	slices.Sort(names)
	site := string(deployed(t, "nginx", "safelight.conf"))
	for _, name := range names {
		if n := strings.Count(site, "server "+name+":8080 "); n != 2 {
			t.Errorf("nginx lists %s %d times; expected both lists to have it", name, n)
		}
	}
	if n := strings.Count(site, "\tserver "); n != 2*len(names) {
		t.Errorf("nginx lists %d nodes; there are %v", n, names)
	}
}

// TestNginxConfiguration: nginx takes the configuration that is shipped.
func TestNginxConfiguration(t *testing.T) {
	t.Parallel()
	program, dir := nginxProgram(t), t.TempDir()
	main := nginxFiles(t, dir, shippedNginx(t, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"))
	if out, err := exec.Command(program, "-t", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", main).CombinedOutput(); err != nil || !strings.Contains(string(out), "test is successful") || strings.Contains(string(out), "[warn]") {
		t.Errorf("%v\n%s", err, out)
	}
}
