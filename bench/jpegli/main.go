// Command jpegli encodes pictures for bench/compress, which starts it: each line
// it reads names a picture, a quality from 1 to 100 and the file to write; each
// line it answers is the processor seconds that took. It is a module of its own
// so that the product does not get what it needs.
package main

import (
	"bufio"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"syscall"

	"github.com/gen2brain/jpegli"
)

func main() {
	jpegli.Init()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var from, to string
		var quality int
		_, err := fmt.Sscan(lines.Text(), &from, &quality, &to)
		if err == nil {
			err = encode(from, quality, to)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "jpegli:", err)
			os.Exit(1)
		}
	}
}

// encode writes a progressive 4:4:4 file.
func encode(from string, quality int, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	picture, _, err := image.Decode(f)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	before := cpu()
	err = jpegli.Encode(out, picture, &jpegli.EncodingOptions{
		Quality: quality, ChromaSubsampling: image.YCbCrSubsampleRatio444, ProgressiveLevel: 2,
		OptimizeCoding: true, AdaptiveQuantization: true,
	})
	took := cpu() - before
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	fmt.Printf("%.6f\n", took)
	return nil
}

// cpu is the processor seconds that this process has used.
func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
