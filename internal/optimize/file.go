package optimize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/quality"
)

// picture is a source that is open.
type picture struct {
	Source
	file   *os.File
	info   os.FileInfo
	header format.Header
}

// made is what one format came to.
type made struct {
	*codec.Output
	format format.Format
}

// file optimises one file. wanted is the path of its result, as far as it is
// known.
func (r *run) file(ctx context.Context, s Source, wanted string) Result {
	result := Result{File: s.Path, SourceFormat: s.Format}
	if wanted != "" {
		if err := free(wanted); err != nil {
			return result.fail(err)
		}
	}
	p, err := r.look(s)
	if err != nil {
		return result.fail(err)
	}
	defer p.file.Close()
	result.SourceFormat, result.Before = p.header.Format, p.info.Size()
	result.Width, result.Height = p.header.Upright()
	if f := r.target(p.header.Format); r.InPlace && f != p.header.Format {
		return r.keep(p, result, fmt.Sprintf("%s can't become %s in place", p.header.Format, f))
	}
	if r.InPlace && (p.header.BitDepth > 8 || p.header.Color == format.CMYK) {
		return r.keep(p, result, "its colours would be lost in place: it has more than 8 bits a sample, or is CMYK")
	}
	list, err := r.formats(p.header)
	if err != nil {
		return result.fail(err)
	}
	if p.header.Pages > 1 && p.header.Format == format.TIFF { // others count parts of the picture too
		result.Warnings = append(result.Warnings, fmt.Sprintf("only the first of its %d pages is taken", p.header.Pages))
	}
	outputs, spent, err := r.encodeAll(ctx, p, list, &result)
	result.CPUSeconds = spent.Seconds()
	defer func() {
		for _, m := range outputs {
			m.Close()
		}
	}()
	if err != nil {
		return result.fail(err)
	}
	return r.settle(p, result, best(outputs))
}

// look opens a source and reads its header.
func (r *run) look(s Source) (*picture, error) {
	flags := 0
	if s.walked || r.InPlace {
		flags = unix.O_NOFOLLOW
	}
	f, info, err := open(s.Path, flags)
	if errors.Is(err, unix.ELOOP) && flags != 0 {
		return nil, fault.New(fault.Invalid, "it is a symbolic link, which is not followed here")
	}
	if err != nil {
		return nil, err
	}
	h, err := format.Probe(f, info.Size())
	if err == nil && moves(f, info.Size(), h.Format) {
		err = fault.New(fault.Unprocessable, "it is an animated %s, of which only the first picture would be left", h.Format)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &picture{Source: s, file: f, info: info, header: h}, nil
}

// formats are those that a source is tried in.
func (r *run) formats(h format.Header) ([]format.Format, error) {
	if !r.Auto {
		f := r.target(h.Format)
		if h.Animated && !f.Animates() {
			return nil, fault.New(fault.Invalid, "it is animated, and %s is not: webp and auto keep the movement", f)
		}
		return []format.Format{f}, nil
	}
	list := []format.Format{format.JPEG, format.WebP, format.AVIF}
	switch {
	case h.Animated:
		list = []format.Format{format.WebP, format.GIF}
	case h.Alpha:
		list[0] = format.PNG
	}
	var able []format.Format
	for _, f := range list {
		if r.writes[f.String()] {
			able = append(able, f)
		}
	}
	if len(able) == 0 {
		return nil, fault.New(fault.Unsupported, "this installation's libvips writes none of the formats that suit it")
	}
	return able, nil
}

// encodeAll tries formats at the same time, as far as the pool has processes.
// What one can't do is a warning where another can.
func (r *run) encodeAll(ctx context.Context, p *picture, list []format.Format, result *Result) (outputs []made, spent time.Duration, err error) {
	tried, errs := make([]*codec.Output, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	for i, f := range list {
		wg.Go(func() { tried[i], errs[i] = r.encode(ctx, p, f) })
	}
	wg.Wait()
	for i, f := range list {
		if errs[i] != nil {
			result.Warnings = append(result.Warnings, fmt.Sprintf("not as %s: %s", f, describe(errs[i])))
			continue
		}
		spent += tried[i].CPU
		outputs = append(outputs, made{tried[i], f})
	}
	if len(outputs) == 0 {
		result.Warnings = nil
		return nil, spent, errs[0]
	}
	return outputs, spent, nil
}

// encode makes a file of one format at the targets.
func (r *run) encode(ctx context.Context, p *picture, f format.Format) (*codec.Output, error) {
	planned, err := r.Plan.Render(options.Options{Format: f}.Normalize(), p.header, nil)
	if err != nil {
		return nil, err
	}
	job := planned.Job
	job.Load.Strict = true // grey in the place of what is missing must not pass for the picture
	job.Save.Quality, job.Save.Search = 0, &r.Search
	if r.Search.Tier == quality.Fast && !f.HasQuality() {
		job.Save.Search = nil // without loss there is nothing to predict
	}
	input, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", p.file.Fd())) // the same file, with a position of its own
	if err != nil {
		return nil, err
	}
	defer input.Close()
	out, err := r.pool.Run(ctx, codec.Background, job, input)
	if err != nil {
		return nil, err
	}
	h, err := format.Probe(out.File, out.Bytes) // some encoders report success and write nothing
	if err != nil || h.Format != f || h.Width != out.Width || h.Height != out.Height {
		out.Close()
		return nil, fault.Wrap(fault.Unprocessable, err, "it could not be encoded as %s at %d×%d px", f, out.Width, out.Height)
	}
	return out, nil
}

// best is the smallest that reaches the targets, or was not measured; where none
// does, the one that comes nearest.
func best(outputs []made) made {
	b := outputs[0]
	for _, m := range outputs[1:] {
		switch {
		case m.usable() != b.usable():
			if m.usable() {
				b = m
			}
		case m.usable() && m.Bytes < b.Bytes,
			!m.usable() && m.Measured.Targets.Margin(m.Measured.Scores) > b.Measured.Targets.Margin(b.Measured.Scores):
			b = m
		}
	}
	return b
}

func (m made) measured() bool { return m.Measured != nil && m.Measured.Trials > 0 }
func (m made) usable() bool   { return !m.measured() || m.Measured.Met }

// settle decides between the source and what was made of it.
func (r *run) settle(p *picture, result Result, m made) Result {
	result.Tried = m.Bytes
	from := p.header.Format
	switch {
	case !m.usable():
		return r.keep(p, result, missed(m))
	case m.Bytes >= result.Before && (m.format == from || r.Auto && from.Encodable()):
		return r.keep(p, result, fmt.Sprintf("%s comes to %d bytes, which is no smaller", m.format, m.Bytes))
	}
	result.Tried, result.State, result.Format, result.Bytes = 0, Optimized, m.format, m.Bytes
	result.Ratio = ratio(m.Bytes, result.Before)
	if found := m.Measured; found != nil {
		result.Encoder, result.Settings, result.Targets = found.Encoder, found.Settings, &found.Targets
		if m.measured() {
			result.Scores, result.Met, result.Trials = &found.Scores, &found.Met, found.Trials
		}
	}
	var err error
	switch {
	case r.InPlace:
		if err = replace(p.Path, p.info, m.File); err == nil {
			result.Output = p.Path
		}
	case r.Out != "":
		result.Output, err = r.put(p, m.format, m.File)
	}
	if err != nil {
		result.Encoder, result.Settings, result.Scores, result.Targets, result.Met, result.Trials = "", "", nil, nil, nil, 0
		return result.fail(err)
	}
	r.Report.add(result, p, m)
	return result
}

// missed says by how much a result misses its targets.
func missed(m made) string {
	t, s := m.Measured.Targets, m.Measured.Scores
	text := fmt.Sprintf("no %s reaches the target %s: the best scores %.1f", m.format, t, s.SSIMULACRA2)
	if s.Butteraugli > 0 {
		text += fmt.Sprintf(", butteraugli %.2f", s.Butteraugli)
	}
	return text
}

// keep leaves a source as it is, or copies it to where results go.
func (r *run) keep(p *picture, result Result, reason string) Result {
	result.State, result.Reason = Kept, reason
	result.Format, result.Bytes, result.Ratio = p.header.Format, result.Before, 1
	if r.Out == "" {
		return result
	}
	var err error
	result.Output, err = r.put(p, p.header.Format, io.NewSectionReader(p.file, 0, result.Before))
	if err == nil {
		err = unchanged(p)
		if err != nil {
			_ = os.Remove(result.Output)
		}
	}
	if err != nil {
		return result.fail(err)
	}
	return result
}

// unchanged refuses a source that was written to while it was copied.
func unchanged(p *picture) error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != p.info.Size() || !info.ModTime().Equal(p.info.ModTime()) {
		return fault.New(fault.Conflict, "it was changed meanwhile; its copy is removed again")
	}
	return nil
}

// put writes a file of format f to where results go.
func (r *run) put(p *picture, f format.Format, content io.Reader) (string, error) {
	path := filepath.Join(r.Out, named(p.Rel, p.Format, f))
	if !r.names.take(path, p.Path) {
		return "", r.names.clash(path)
	}
	return path, writeNew(path, content)
}

func ratio(bytes, before int64) float64 {
	if before == 0 {
		return 0
	}
	return float64(bytes) / float64(before)
}
