package codec

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// photo is a JPEG with something to see in it.
func photo(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(x * 255 / w), uint8(y * 255 / h), uint8((x ^ y) & 63), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func renderJob(side int) plan.Job {
	return plan.Job{
		Load:  plan.Load{Format: format.JPEG},
		Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: side, H: side}}}, {SRGB: true}},
		Save:  &plan.Save{Format: format.JPEG, Quality: 80},
	}
}

// Each job is told its own processor time: together they are the pool's, and a
// large picture costs more than a small one in the same process.
func TestCPUOfEachJob(t *testing.T) {
	p, _ := onlyProcess(t)
	var spent []time.Duration
	var sum float64
	for _, side := range []int{64, 1600, 64} {
		job := renderJob(side)
		job.Save = &plan.Save{Format: format.WebP, Quality: 80, Effort: 6}
		out, err := p.Run(context.Background(), Background, job, file(t, photo(t, 1600, 1200)))
		if err != nil {
			t.Fatal(err)
		}
		out.Close()
		spent = append(spent, out.CPU)
		sum += out.CPU.Seconds()
	}
	if spent[0] <= 0 || spent[2] <= 0 || spent[1] < 2*max(spent[0], spent[2]) {
		t.Errorf("64, 1600 and 64 px wide take %v of processor time", spent)
	}
	if all := p.Stats().CPUSeconds; math.Abs(all-sum) > 1e-6 {
		t.Errorf("the pool spent %g s; its jobs %g s", all, sum)
	}
}

// slowJob takes many seconds of processor time.
func slowJob() plan.Job {
	job := renderJob(0)
	job.Steps = []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 6000, H: 4000}, Exact: true}}, {Blur: 60}, {Sharpen: 8}, {Blur: 60}, {Sharpen: 9}}
	job.Save = &plan.Save{Format: format.WebP, Quality: 90, Effort: 6}
	return job
}

func mustRender(t testing.TB, p *Pool) {
	t.Helper()
	out, err := p.Run(context.Background(), Interactive, renderJob(64), file(t, photo(t, 128, 96)))
	if err != nil {
		t.Fatal("an ordinary picture fails:", err)
	}
	out.Close()
}

// working waits until a process computes, or is gone.
func working(p *process) {
	for from := p.clock(); p.clock() < from+30*time.Millisecond; {
		select {
		case <-p.exited:
			return
		default:
			runtime.Gosched()
		}
	}
}

// onlyProcess opens a pool of one process without a spare.
func onlyProcess(t testing.TB) (*Pool, *process) {
	cfg := single()
	cfg.Spares = 0
	p := openPool(t, cfg)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.kinds[0].idle[0]
}

func single() Config {
	cfg := testConfig()
	cfg.Processes, cfg.Spares = 1, 1
	return cfg
}

func TestRender(t *testing.T) {
	p := openPool(t, testConfig())
	t.Logf("%+v", p.Info())
	out, err := p.Run(context.Background(), Interactive, renderJob(512), file(t, photo(t, 2048, 1536)))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b, err := io.ReadAll(out.File)
	if err != nil || int64(len(b)) != out.Bytes {
		t.Fatal(len(b), out.Bytes, err)
	}
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() != 512 || m.Bounds().Dy() != 384 || out.Width != 512 || out.Height != 384 {
		t.Errorf("got %v, %+v", m.Bounds(), out.Result)
	}
	if n, err := out.File.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a sealed result took", n, "bytes")
	}
	if err := out.File.Truncate(0); err == nil {
		t.Error("a sealed result was emptied")
	}
}

func TestInspectAndOverlay(t *testing.T) {
	p := openPool(t, testConfig())
	source := photo(t, 640, 480)
	out, err := p.Run(context.Background(), Interactive, plan.Job{Load: plan.Load{Format: format.JPEG}, Inspect: true}, file(t, source))
	if err != nil || out.File != nil || out.Width != 640 || len(out.ThumbHash) == 0 || out.BlurHash == "" {
		t.Fatal(out, err)
	}
	job := renderJob(200)
	job.Steps = append(job.Steps, plan.Step{Watermark: &plan.Watermark{Format: format.JPEG, Scale: 0.2, Opacity: 0.5}},
		plan.Step{Text: &plan.Text{String: "Grüße 漢字", Size: 20, Opacity: 1}})
	if out, err = p.Run(context.Background(), Interactive, job, file(t, source), file(t, source)); err != nil {
		t.Fatal(err)
	}
	out.Close()
}

// Every format works within the closed sandbox, not only in an engine by itself.
func TestFormatsInTheSandbox(t *testing.T) {
	everyFormat(t, openPool(t, testConfig()))
}

func everyFormat(t *testing.T, p *Pool) {
	t.Helper()
	source := photo(t, 640, 480)
	for _, f := range format.Outputs() {
		job := renderJob(100)
		job.Save.Format = f
		out, err := p.Run(context.Background(), Interactive, job, file(t, source))
		if f == format.JXL && !p.kinds[0].reads(f) && fault.Of(err) == fault.Unsupported {
			t.Logf("%s is left out: %v", f, err)
			continue
		}
		if err != nil {
			t.Errorf("to %s: %v", f, err)
			continue
		}
		job.Load.Format, job.Save.Format = f, format.PNG
		if !f.Source() {
			job = plan.Job{Load: job.Load, Inspect: true}
		}
		back, err := p.Run(context.Background(), Interactive, job, out.File)
		if err != nil {
			t.Errorf("from %s: %v", f, err)
			continue
		}
		back.Close()
		out.Close()
	}
}

func TestCrashCostsOneJob(t *testing.T) {
	p, one := onlyProcess(t)
	go func() {
		working(one)
		_ = one.cmd.Process.Signal(syscall.SIGSEGV)
	}()
	_, err := p.Run(context.Background(), Background, slowJob(), file(t, photo(t, 800, 600)))
	if fault.Of(err) != fault.Unprocessable || fault.As(err).Code != "codec-crashed" {
		t.Fatal(err)
	}
	begin := time.Now()
	mustRender(t, p)
	t.Log("the next picture took", time.Since(begin))
	if s := p.Stats(); s.Crashes != 1 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

// A process that somebody else kills, as the kernel does when memory is short,
// says nothing of the picture: another process tries once more, and no third.
func TestKilledIsTriedAgain(t *testing.T) {
	cfg := testConfig()
	cfg.Processes, cfg.Spares = 2, 0
	p := openPool(t, cfg)
	first := func() []*process {
		for {
			p.mu.Lock()
			idle := slices.Clone(p.kinds[0].idle)
			p.mu.Unlock()
			if len(idle) == 2 {
				return idle
			}
			runtime.Gosched()
		}
	}
	kill := func(one *process) {
		working(one)
		_ = one.cmd.Process.Kill()
	}
	two := first()
	go kill(two[1]) // the one used next
	job := renderJob(1000)
	job.Steps = append(job.Steps, plan.Step{Blur: 40}) // a good part of a second
	out, err := p.Run(context.Background(), Background, job, file(t, photo(t, 800, 600)))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := out.File.Stat(); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	out.Close()
	two = first()
	before := p.Stats()
	if before.Crashes != 1 || before.Failed != 1 {
		t.Errorf("%+v", before)
	}
	for _, one := range two {
		go kill(one)
	}
	_, err = p.Run(context.Background(), Background, slowJob(), file(t, photo(t, 800, 600)))
	if fault.Of(err) != fault.Unavailable || fault.As(err).Code != codeKilled {
		t.Fatal(err)
	}
	mustRender(t, p)
	if s := p.Stats(); s.Crashes != before.Crashes+2 || s.Failed != before.Failed+2 {
		t.Errorf("%+v", s)
	}
}

// A process that dies between jobs is nobody's fault, and nobody notices.
func TestIdleDeathIsNotSeen(t *testing.T) {
	cfg := single()
	cfg.Spares = 0
	p := openPool(t, cfg)
	for range 5 {
		mustRender(t, p)
		p.mu.Lock()
		for _, one := range p.kinds[0].idle {
			_ = one.cmd.Process.Kill()
		}
		p.mu.Unlock()
	}
	mustRender(t, p)
}

func TestCPULimit(t *testing.T) {
	cfg := single()
	cfg.CPUInteractive = 300 * time.Millisecond
	p := openPool(t, cfg)
	begin := time.Now()
	_, err := p.Run(context.Background(), Interactive, slowJob(), file(t, photo(t, 800, 600)))
	if fault.Of(err) != fault.Timeout || !strings.Contains(err.Error(), "processor time") {
		t.Fatal(err)
	}
	t.Log(err, "after", time.Since(begin))
	mustRender(t, p)
	s := p.Stats()
	if s.Kills["cpu"] != 1 || s.CPUSeconds < 0.3 || s.CPUSeconds > 3 {
		t.Errorf("%+v", s)
	}
}

func TestWallLimit(t *testing.T) {
	cfg := single()
	cfg.WallInteractive = 200 * time.Millisecond
	p := openPool(t, cfg)
	_, err := p.Run(context.Background(), Interactive, slowJob(), file(t, photo(t, 800, 600)))
	if fault.Of(err) != fault.Timeout {
		t.Fatal(err)
	}
	mustRender(t, p)
}

func TestMemoryLimit(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 10000, 10000))
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	cfg := single()
	cfg.MemoryBytes = 64 << 20
	job := plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{{Rotate: &plan.Rotate{Degrees: 90}}},
		Save: &plan.Save{Format: format.JPEG, Quality: 80}}
	for name, watchAfter := range map[string]time.Duration{"by the watchdog": 20 * time.Millisecond, "by the limit on data": time.Hour} {
		if name == "by the limit on data" && raceDetector {
			continue
		}
		if name == "by the limit on data" { // more than the room that is beside the limit
			job.Steps = append([]plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 24000, H: 20000}, Exact: true}}}, job.Steps...)
		}
		cfg.WatchAfter = watchAfter
		p := openPool(t, cfg)
		_, err := p.Run(context.Background(), Interactive, job, file(t, b.Bytes()))
		if fault.Of(err) != fault.Unprocessable || fault.As(err).Code != "needs-memory" {
			t.Fatal(name, err)
		}
		t.Log(name, err)
		mustRender(t, p)
	}
}

func TestOutputLimit(t *testing.T) {
	cfg := single()
	cfg.OutputBytes = 64 << 10
	p := openPool(t, cfg)
	job := renderJob(1000)
	job.Save = &plan.Save{Format: format.PNG}
	for range 2 {
		_, err := p.Run(context.Background(), Interactive, job, file(t, photo(t, 1000, 800)))
		if fault.Of(err) != fault.TooLarge {
			t.Fatal(err)
		}
	}
	mustRender(t, p)
	if s := p.Stats(); s.Crashes > 0 {
		t.Errorf("%+v", s)
	}
}

func TestCancelRunning(t *testing.T) {
	p, one := onlyProcess(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		working(one)
		cancel()
	}()
	begin := time.Now()
	_, err := p.Run(ctx, Background, slowJob(), file(t, photo(t, 800, 600)))
	if fault.Of(err) != fault.Canceled || time.Since(begin) > 2*time.Second {
		t.Fatal(err, time.Since(begin))
	}
	<-one.exited // it stops to burn
	mustRender(t, p)
	if s := p.Stats(); s.Kills["canceled"] != 1 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestQueue(t *testing.T) {
	cfg := single()
	cfg.Spares = 0
	p := openPool(t, cfg)
	hold, err := p.acquire(context.Background(), Background, p.kinds[0])
	if err != nil {
		t.Fatal(err)
	}
	// Whoever leaves the queue leaves at once.
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, Interactive, renderJob(9), file(t, photo(t, 64, 64))); fault.Of(err) != fault.Timeout {
		t.Fatal(err)
	}
	// Two background jobs wait, then two interactive ones: these go first, each kind in order.
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	for i, name := range []string{"b1", "b2", "i1", "i2"} {
		class := []Class{Background, Background, Interactive, Interactive}[i]
		wg.Go(func() {
			one, err := p.acquire(context.Background(), class, p.kinds[0])
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			p.release(one, class, true)
		})
		for p.Stats().Waiting != i+1 {
			runtime.Gosched()
		}
	}
	p.release(hold, Background, true)
	wg.Wait()
	if got := strings.Join(order, " "); got != "i1 i2 b1 b2" {
		t.Errorf("the order was %s", got)
	}
}

// Background jobs leave a process for those who wait for an answer.
func TestBackgroundLeavesRoom(t *testing.T) {
	p := openPool(t, testConfig())
	one, err := p.acquire(context.Background(), Background, p.kinds[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.acquire(ctx, Background, p.kinds[0]); fault.Of(err) != fault.Timeout {
		t.Error("a second background job was let in:", err)
	}
	mustRender(t, p)
	p.release(one, Background, true)
}

func TestRecycle(t *testing.T) {
	cfg := single()
	cfg.RecycleJobs = 3
	p := openPool(t, cfg)
	for range 10 {
		mustRender(t, p)
	}
	if s := p.Stats(); s.Recycles != 3 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := openPool(t, testConfig())
	source := file(t, photo(t, 600, 400)).Name()
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			f, err := os.Open(source)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			out, err := p.Run(context.Background(), Interactive, renderJob(64), f)
			if err != nil {
				t.Error(err)
				return
			}
			out.Close()
		})
	}
	wg.Wait()
}

func TestNoLibvips(t *testing.T) {
	cfg := single()
	cfg.VipsLibrary = filepath.Join(t.TempDir(), "libvips.so.42")
	_, err := Version(context.Background(), cfg)
	if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "libvips42") {
		t.Fatal(err)
	}
	t.Log(err)
	cfg.VipsLibrary = ""
	cfg.Command = []string{"/bin/true"}
	if _, err := Version(context.Background(), cfg); fault.Of(err) != fault.Unavailable {
		t.Fatal(err)
	}
}

func TestVersion(t *testing.T) {
	info, err := Version(context.Background(), testConfig())
	if err != nil || info.Libvips == "" || len(info.Reads) == 0 || len(info.Writes) == 0 || len(info.Libraries) == 0 {
		t.Fatal(info, err)
	}
}

func TestCloseEndsJobs(t *testing.T) {
	p, one := onlyProcess(t)
	go func() {
		working(one)
		p.Close()
	}()
	if _, err := p.Run(context.Background(), Background, slowJob(), file(t, photo(t, 800, 600))); fault.Of(err) != fault.Unavailable {
		t.Error(err)
	}
	if _, err := p.Run(context.Background(), Background, slowJob(), file(t, photo(t, 80, 60))); fault.Of(err) != fault.Unavailable {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	cfg := DefaultConfig()
	cfg.MemoryBytes = 1
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "codec.memory_bytes") {
		t.Error(err)
	}
	job := renderJob(2000)
	small, _ := cfg.deadlines(Background, &job)
	job.Load.Pages = -1
	large, _ := cfg.deadlines(Background, &job)
	if small != 90*time.Second || large <= small {
		t.Error(small, large)
	}
}

// A job that measures its result may take more memory than others, and no other may.
func TestSearchMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's own memory counts")
	}
	cfg := single()
	cfg.MemoryBytes = 96 << 20
	job := plan.Job{Load: plan.Load{Format: format.JPEG}, Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 1500, H: 1000}, Exact: true}}},
		Save: &plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}}}
	source := photo(t, 1500, 1000)
	for search, want := range map[int64]fault.Kind{1 << 30: 0, 0: fault.Unprocessable} {
		cfg.SearchBytes = search
		p := openPool(t, cfg)
		out, err := p.Run(context.Background(), Background, job, file(t, source))
		if want != 0 {
			if fault.Of(err) != want || fault.As(err).Code != codeMemory {
				t.Errorf("with %d bytes more: %v", search, err)
			}
			continue
		}
		if err != nil || !out.Measured.Met {
			t.Fatal(err)
		}
		out.Close()
		bomb := plan.Job{Load: plan.Load{Format: format.JPEG}, Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 9000, H: 8000}, Exact: true}}},
			Save: &plan.Save{Format: format.PNG}}
		bomb.Steps = append(bomb.Steps, plan.Step{Rotate: &plan.Rotate{Degrees: 90}})
		if _, err := p.Run(context.Background(), Background, bomb, file(t, source)); fault.Of(err) != fault.Unprocessable {
			t.Errorf("another job after it: %v", err)
		}
	}
}

func TestSearchLimits(t *testing.T) {
	cfg := DefaultConfig()
	job := renderJob(2000)
	plain, _ := cfg.deadlines(Background, &job)
	job.Save.Search = &plan.Search{Tier: quality.Max, Targets: quality.Web}
	most, _ := cfg.deadlines(Background, &job)
	if most != maxFactor*plain || cfg.searchMemory(&job) < 800<<20 {
		t.Error(plain, most, cfg.searchMemory(&job))
	}
	job.Save.Search.Tier = quality.Fast
	if cfg.searchMemory(&job) != 0 {
		t.Error("a prediction needs no memory")
	}
	job.Save.Search.Tier, job.Load.Pages = quality.Max, -1
	if cfg.searchMemory(&job) != cfg.SearchBytes {
		t.Error(cfg.searchMemory(&job))
	}
}
