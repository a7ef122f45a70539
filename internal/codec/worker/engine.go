// Package worker is the inside of a codec process: the only code of Safelight
// that touches pixels from strangers. It executes a plan.Job with libvips and
// decides nothing; the pool in package codec starts it, bounds it and kills it.
package worker

import (
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/encoder/jxl"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// Engine executes jobs in this process, one at a time, from one goroutine. It
// is exported for benchmarks and tests: everybody else uses codec.Pool, which
// has it in processes of its own.
type Engine struct {
	outputBytes int64
	libraries   []vips.Codec
	maxPixels   int64        // of a JPEG XL file's header; 0 is no limit
	jxl         *jxl.Library // nil where it is not there
	noJXL       error        // why there is none

	cantRead, cantWrite map[format.Format]bool // although libvips has an operation for it
}

// Files are the open files of a job, as descriptors that stay the caller's.
// Each must have a file position of its own, and is read from its start.
type Files struct {
	Source  int
	Overlay int // -1 where there is none
	Output  int // -1 where nothing is saved
}

// Open loads libvips as setup says and shuts off everything in it that jobs
// don't need: the cache of operations, its own threads, all loaders but those
// of package format, of which that of JPEG XL reads no sources, only what was
// written here. The error names what is missing.
func Open(setup wire.Setup) (*Engine, error) {
	// libvips spills pictures over this size to a temporary file; here there is
	// no place to put one, and the memory limit decides.
	os.Setenv("VIPS_DISC_THRESHOLD", "1000g")
	if err := vips.Open(setup.Library, "vips-heif", "vips-jxl"); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "libvips can't be loaded")
	}
	vips.CacheMax(0)
	vips.Concurrency(1)
	vips.BlockUntrusted(true)
	vips.Block("VipsForeignLoad", true)
	for _, l := range loaders {
		vips.Block(l.class, false)
	}
	vips.Block("VipsForeignSaveJxlTarget", false) // it counts as unsafe as its loader does
	output := setup.OutputBytes
	if output <= 0 {
		output = math.MaxInt64
	}
	e := &Engine{outputBytes: output, maxPixels: (setup.MemoryBytes + setup.SearchBytes) / jxlBytesPerPixel}
	e.jxl, e.noJXL = jxl.Open("")
	e.probe()
	e.libraries = e.codecs()
	return e, nil
}

// Info says what this engine is made of.
func (e *Engine) Info() wire.Info {
	info := wire.Info{Libvips: vips.Version()}
	for _, c := range e.libraries {
		info.Libraries = append(info.Libraries, wire.Library(c))
	}
	for _, f := range format.All() {
		if l, ok := loaders[f]; ok && vips.Has(l.operation) && !e.cantRead[f] {
			info.Reads = append(info.Reads, f.String())
		}
	}
	for _, f := range format.Outputs() {
		if op, ok := savers[f]; ok && vips.Has(op) && !e.cantWrite[f] {
			info.Writes = append(info.Writes, f.String())
		}
	}
	if e.jxl != nil {
		info.Features = append(info.Features, "jpeg-xl-transcoding")
	}
	return info
}

// codecs lists the libraries in use. Those that libvips has built in can't be
// asked; libjxl is beside it.
func (e *Engine) codecs() []vips.Codec {
	built := vips.BuiltIn()
	if built == nil {
		return vips.Codecs()
	}
	if e.jxl != nil {
		built = append(built, vips.Codec{Name: "jxl", Version: e.jxl.Version()})
	}
	return built
}

// Execute runs a job. Errors are fault.Errors: Unprocessable for a picture that
// can't be decoded, TooLarge for an output over the limit, Unsupported for a
// format that this libvips lacks, Invalid for a job that makes no sense.
func (e *Engine) Execute(job plan.Job, files Files) (plan.Result, error) {
	var result plan.Result
	var err error
	switch {
	case job.Save != nil && !job.Load.Format.Source(): // results are read back, and not rendered again
		err = fault.New(fault.Unsupported, "%s files are not accepted", job.Load.Format)
	case e.cantRead[job.Load.Format]:
		err = fault.New(fault.Unsupported, "this installation's libvips can't read %s files", job.Load.Format)
	case job.Save != nil && e.cantWrite[job.Save.Format]:
		err = fault.New(fault.Unsupported, "this installation's libvips can't write %s files", job.Save.Format)
	case job.Transcode != nil:
		err = e.transcode(*job.Transcode, files)
	case job.Save == nil:
		result, err = e.inspect(job, files)
	default:
		result, err = e.render(job, files)
	}
	if err != nil {
		return plan.Result{}, e.classify(err, job, files)
	}
	return result, nil
}

func (e *Engine) render(job plan.Job, files Files) (plan.Result, error) {
	p := newPicture(files)
	defer p.close()
	load := job.Load
	if !job.Save.Format.Animates() {
		load.Pages = 1
	}
	if err := p.load(load); err != nil {
		return plan.Result{}, err
	}
	if err := p.apply(job.Steps); err != nil {
		return plan.Result{}, err
	}
	if job.Save.Search != nil {
		return e.seek(p, *job.Save)
	}
	return p.save(*job.Save, files.Output)
}

// classify turns what went wrong into an error for the client. libvips
// computes when the saver pulls, so an error of the file and one of the encoder
// come out of the same call; its text goes to logs only.
func (e *Engine) classify(err error, job plan.Job, files Files) error {
	if fault.As(err) != nil {
		return err
	}
	text := oneLine(err.Error())
	cause := &causeError{text}
	var st unix.Stat_t
	if files.Output >= 0 && unix.Fstat(files.Output, &st) == nil && st.Size >= e.outputBytes {
		return fault.Limit(fault.TooLarge, "codec.output_bytes", e.outputBytes, st.Size,
			"the result is larger than %d bytes", e.outputBytes)
	}
	switch {
	case strings.Contains(text, "out of memory"), strings.Contains(text, "unable to allocate"):
		return &fault.Error{Kind: fault.Unprocessable, Code: codeMemory, Cause: cause,
			Message: "the picture needs more memory than one picture may take"}
	case strings.Contains(text, "safelight: "), strings.HasPrefix(text, "vips: "):
		return fault.Wrap(fault.Internal, cause, "the codec was asked for something that it doesn't have")
	}
	return &fault.Error{Kind: fault.Unprocessable, Code: "undecodable-image", Cause: cause,
		Message: "the file is damaged, or no " + display(job.Load.Format) + " picture that can be decoded"}
}

// display is a format's name in a sentence.
func display(f format.Format) string {
	if f == format.WebP {
		return "WebP"
	}
	return strings.ToUpper(f.String())
}

type causeError struct{ text string }

func (e *causeError) Error() string { return e.text }

// oneLine flattens and bounds a text of libvips.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + " …"
	}
	return s
}
