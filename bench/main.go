// Command bench prints one table of ratios: Safelight against the least that
// the same work could cost on this machine, measured side by side in one run.
//
// Every row alternates between the two sides, so that whatever else the machine
// does falls on both, and shows the median of the rounds' ratios. CPU is that
// of the serving processes with all their children, read from the kernel; the
// client's is not counted.
//
//	make bench          hot, cold, ingest, memory, tasks, scale
//	make bench-peers    the same requests to nginx and ipx beside us
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one line of the table.
type row struct {
	what       string
	ours, base string // one operation, in words with its unit
	ratio      float64
	spread     [2]float64 // lowest and highest round
	goal       string
}

func main() {
	binary := flag.String("binary", "bin/safelight", "the server to measure")
	peers := flag.Bool("peers", false, "measure nginx and ipx beside us instead")
	only := flag.String("only", "", "run only the rows whose group contains this: hot, cold, ingest, memory, tasks, scale")
	bare := flag.String("bare", "", "internal: be the baseline of this name")
	rounds := flag.Int("rounds", 7, "rounds of each row")
	flag.Parse()
	if *bare != "" {
		exit(baseline(*bare, flag.Args()))
	}
	dir, err := os.MkdirTemp("", "safelight-bench-")
	exit(err)
	b := &bench{binary: *binary, dir: dir, rounds: *rounds}
	groups := []group{{"hot", b.hot}, {"cold", b.cold}, {"ingest", b.ingest}, {"memory", b.memory}, {"tasks", b.tasks}, {"scale", b.scale}}
	if *peers {
		groups = []group{{"nginx", b.nginx}, {"ipx", b.ipx}}
	}
	var rows []row
	for _, g := range groups {
		if !strings.Contains(g.name, *only) {
			continue
		}
		got, err := g.run()
		if err != nil {
			b.stopAll()
			_ = os.RemoveAll(dir)
			exit(fmt.Errorf("%s: %w", g.name, err))
		}
		rows = append(rows, got...)
	}
	b.stopAll()
	_ = os.RemoveAll(dir)
	table(rows)
}

type group struct {
	name string
	run  func() ([]row, error)
}

// bench is one run.
type bench struct {
	binary, dir string
	rounds      int
	running     []*process
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func table(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tSafelight\tbaseline\tratio\trounds\tgoal")
	for _, r := range rows {
		ratio, spread := "", ""
		if r.ratio > 0 {
			ratio = fmt.Sprintf("%.2f", r.ratio)
		}
		if r.spread[1] > 0 {
			spread = fmt.Sprintf("%.2f–%.2f", r.spread[0], r.spread[1])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.ours, r.base, ratio, spread, r.goal)
	}
	_ = w.Flush()
}

// paired makes a row of figures measured in turn; unit is what one figure is
// in, scale what to multiply by to get there.
func paired(what, unit string, scale float64, ours, base []float64, goal string) row {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / base[i]
	}
	slices.Sort(ratios)
	return row{
		what: what, ours: fmt.Sprintf("%.3g %s", median(ours)*scale, unit), base: fmt.Sprintf("%.3g %s", median(base)*scale, unit),
		ratio: median(ratios), spread: [2]float64{ratios[0], ratios[len(ratios)-1]}, goal: goal,
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
