package codec

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

// mixed opens a pool of two kinds, both with the system's libvips, of which the
// first claims to lack HEIC.
func mixed(t *testing.T, cfg Config) *Pool {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ldconfig -p | sed -n 's/.*libvips.so.42.* => //p'").Output()
	path, _, _ := strings.Cut(string(out), "\n")
	if err != nil || path == "" {
		t.Skip("no libvips.so.42: ", err)
	}
	cfg.VipsLibrary, cfg.VipsFallback = path, system
	p := openPool(t, cfg)
	k := p.kinds[0]
	k.info.Reads = slices.DeleteFunc(slices.Clone(k.info.Reads), func(s string) bool { return s == "heic" })
	return p
}

func heic(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("worker/probe/tiny.heic")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inspectHEIC() plan.Job {
	return plan.Job{Load: plan.Load{Format: format.HEIC}, Inspect: true}
}

func TestJobsGoToTheKindThatCan(t *testing.T) {
	p := mixed(t, testConfig())
	if info := p.Info(); info.Fallback == nil || !slices.Contains(info.Fallback.Reads, "heic") || slices.Contains(info.Reads, "heic") {
		t.Skipf("this libvips reads no HEIC: %+v", info)
	}
	mark := renderJob(64)
	mark.Steps = append(mark.Steps, plan.Step{Watermark: &plan.Watermark{Format: format.HEIC, Opacity: 1}})
	avif := renderJob(64)
	avif.Save.Format = format.AVIF
	source := photo(t, 128, 96)
	for i, c := range []struct {
		job    plan.Job
		inputs [][]byte
		second bool
	}{
		{renderJob(64), [][]byte{source}, false},
		{inspectHEIC(), [][]byte{heic(t)}, true},
		{mark, [][]byte{source, heic(t)}, true},
		{avif, [][]byte{source}, false},
		{transcodeJob(plan.ToJXL), [][]byte{source}, false},
	} {
		before := p.Stats().Fallback
		var files []*os.File
		for _, b := range c.inputs {
			files = append(files, file(t, b))
		}
		out, err := p.Run(context.Background(), Interactive, c.job, files...)
		if err != nil {
			t.Errorf("job %d: %v", i, err)
			continue
		}
		out.Close()
		if went := p.Stats().Fallback > before; went != c.second {
			t.Errorf("job %d went to the fallback: %v", i, went)
		}
	}
}

// What no kind can do is refused by the first, which says what it lacks.
func TestNoKindCan(t *testing.T) {
	p := mixed(t, testConfig())
	job := renderJob(64)
	job.Load.Format = format.Unknown
	if _, err := p.Run(context.Background(), Interactive, job, file(t, photo(t, 9, 9))); fault.Of(err) != fault.Unsupported {
		t.Error(err)
	}
	if p.kindFor(&job) != p.kinds[0] || p.Stats().Fallback != 0 {
		t.Errorf("%+v", p.Stats())
	}
}

// One job at a time means one of all kinds, and nobody waits behind a job whose
// kind has no process idle.
func TestKindsShareTheQueue(t *testing.T) {
	cfg := single()
	cfg.Processes, cfg.Spares = 2, 0
	p := mixed(t, cfg)
	first, second := p.kinds[0], p.kinds[1]
	if first.want != 2 || second.want != 2 || second.background != 1 {
		t.Fatal(first.want, second.want, second.background)
	}
	ctx := context.Background()
	a, err := p.acquire(ctx, Interactive, second)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.acquire(ctx, Interactive, first)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for _, k := range p.kinds {
		if _, err := p.acquire(short, Interactive, k); fault.Of(err) != fault.Timeout {
			t.Error("a third job at once was let in:", err)
		}
	}
	p.release(a, Interactive, true)
	c, err := p.acquire(ctx, Background, second)
	if err != nil {
		t.Fatal(err)
	}
	p.release(b, Interactive, true)
	// The fallback's last process isn't for background jobs; the queue goes on past one.
	var wg sync.WaitGroup
	wg.Go(func() {
		one, err := p.acquire(ctx, Background, second)
		if err != nil {
			t.Error(err)
			return
		}
		p.release(one, Background, true)
	})
	for p.Stats().Waiting != 1 {
		runtime.Gosched()
	}
	for _, k := range p.kinds {
		one, err := p.acquire(ctx, Interactive, k)
		if err != nil {
			t.Fatal(err)
		}
		p.release(one, Interactive, true)
	}
	p.release(c, Background, true)
	wg.Wait()
}

// A kind whose processes don't start any more fails its own jobs only.
func TestKindThatIsGone(t *testing.T) {
	cfg := single()
	p := mixed(t, cfg)
	p.mu.Lock()
	k := p.kinds[1]
	k.cfg.VipsLibrary = filepath.Join(t.TempDir(), "none.so")
	for _, one := range k.idle {
		_ = one.cmd.Process.Kill()
	}
	p.mu.Unlock()
	for {
		_, err := p.Run(context.Background(), Interactive, inspectHEIC(), file(t, heic(t)))
		if fault.Of(err) == fault.Unavailable {
			break
		}
		if err != nil && fault.As(err).Code != "codec-crashed" {
			t.Fatal(err)
		}
	}
	mustRender(t, p)
}

func TestKindsConfig(t *testing.T) {
	for _, c := range []struct {
		library, fallback string
		ok                bool
	}{{"", "", true}, {"/a.so", "", true}, {"/a.so", "system", true}, {"", "/a.so", true}, {"", "system", false}, {"/a.so", "/a.so", false}} {
		cfg := DefaultConfig()
		cfg.VipsLibrary, cfg.VipsFallback = c.library, c.fallback
		if err := cfg.Validate(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	cfg := testConfig()
	cfg.VipsFallback = filepath.Join(t.TempDir(), "none.so")
	if _, err := Version(context.Background(), cfg); fault.Of(err) != fault.Unavailable {
		t.Error(err)
	}
}

// newer is the libvips of `make codecs`. It is fetched where SAFELIGHT_CODECS is set.
func newer(t *testing.T) string {
	t.Helper()
	if os.Getenv("SAFELIGHT_CODECS") != "" {
		if out, err := exec.Command("../../scripts/codecs").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	found, _ := filepath.Glob("../../codecs/libvips-cpp.so.*")
	if len(found) == 0 {
		t.Skip("no newer libvips: run `make codecs`, or set SAFELIGHT_CODECS=1")
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A newer libvips does the work; HEIC, which it lists and can't decode, goes to the system's.
func TestNewerLibrary(t *testing.T) {
	cfg := testConfig()
	cfg.VipsLibrary = newer(t)
	alone := openPool(t, cfg)
	info := alone.Info()
	t.Log(info)
	versions := map[string]string{}
	for _, l := range info.Libraries {
		versions[l.Name] = l.Version
	}
	for _, name := range []string{"aom", "heif", "webp", "mozjpeg"} {
		if versions[name] == "" {
			t.Errorf("no version of %s in %v", name, versions)
		}
	}
	if slices.Contains(info.Reads, "heic") {
		t.Skip("this build reads HEIC")
	}
	if _, err := alone.Run(context.Background(), Interactive, inspectHEIC(), file(t, heic(t))); fault.Of(err) != fault.Unsupported {
		t.Error(err)
	}
	cfg.VipsFallback = system
	both := openPool(t, cfg)
	if info = both.Info(); info.Fallback == nil || info.Fallback.Libvips == info.Libvips || !slices.Contains(info.Fallback.Reads, "heic") {
		t.Fatalf("%+v", info)
	}
	for _, save := range []format.Format{format.JPEG, format.WebP, format.AVIF} {
		job := renderJob(32)
		job.Load.Format, job.Save.Format = format.HEIC, save
		out, err := both.Run(context.Background(), Interactive, job, file(t, heic(t)))
		if err != nil {
			t.Errorf("HEIC to %s: %v", save, err)
			continue
		}
		out.Close()
	}
	everyFormat(t, alone)
	mustRender(t, both)
	if s := both.Stats(); s.Fallback != 3 || s.Jobs != 4 {
		t.Errorf("%+v", s)
	}
}
