// Command compress measures how small files come out at equal quality, and what
// that costs: every tier of ours, guetzli, libjpeg-turbo and jpegli on the same
// photographs. Searches run as in the server, in sandboxed codec processes; what
// they made is decoded and judged again here.
//
//	make bench-compress                 the whole, into docs/compression.md and .svg
//	make bench-compress ARGS=-quick     three photographs, to try it; writes nothing
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"safelight/internal/codec/worker"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "codec" {
		os.Exit(worker.Main()) // as which the pools start this program
	}
	quick := flag.Bool("quick", false, "only three photographs")
	into := flag.String("write", "", "folder whose compression.md and compression.svg to bring up to date")
	apart := flag.Bool("each", false, "print every photograph's results too")
	vips := flag.String("vips", "", "libvips to load, such as the one of make codecs; empty is the system's")
	lanes := flag.Int("lanes", runtime.NumCPU(), "photographs at once")
	flag.Parse()
	dir := os.Getenv("SAFELIGHT_PHOTOS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "photos")
	}
	photos, err := load(dir, *quick)
	exit(err)
	if len(photos) == 0 {
		fmt.Printf("there are no photographs in %s; SAFELIGHT_PHOTOS names their folder\n", dir)
		return
	}
	temporary, err := os.MkdirTemp("", "safelight-compress-")
	exit(err)
	results, said, err := measureAll(photos, temporary, *vips, *lanes)
	_ = os.RemoveAll(temporary)
	exit(err)
	r := &report{results: results, said: said, quick: *quick}
	text := r.markdown()
	fmt.Print(text)
	if *apart {
		each(os.Stdout, results)
	}
	if *into != "" {
		exit(replace(filepath.Join(*into, "compression.md"), text))
		exit(os.WriteFile(filepath.Join(*into, "compression.svg"), []byte(plot(results)), 0o644))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "compress:", err)
		os.Exit(1)
	}
}

// measureAll measures every photograph, a few at once; the largest should come
// first. said tells what was measured with.
func measureAll(photos []*photo, dir, vips string, lanes int) (results []*result, said string, err error) {
	jpegli, why := buildJpegli(dir)
	if why != nil {
		fmt.Fprintln(os.Stderr, "compress: without jpegli:", why)
	}
	queue := make(chan int, len(photos))
	for i := range photos {
		queue <- i
	}
	close(queue)
	results = make([]*result, len(photos))
	errs := make([]error, min(lanes, len(photos)))
	var all sync.WaitGroup
	for n := range errs {
		l, err := openLane(filepath.Join(dir, fmt.Sprint(n)), vips, jpegli)
		if err != nil {
			errs[n] = err
			break
		}
		said = l.versions()
		all.Go(func() {
			defer l.close()
			for i := range queue {
				if results[i], errs[n] = l.measure(photos[i]); errs[n] != nil {
					errs[n] = fmt.Errorf("%s: %w", photos[i].name, errs[n])
					for range queue { // nobody need go on
					}
					return
				}
				fmt.Fprintf(os.Stderr, "%s is done, %d wait\n", photos[i].name, len(queue))
			}
		})
	}
	all.Wait()
	return results, said, errors.Join(errs...)
}
