package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// each writes what became of every photograph, as a table with tabs.
func each(w io.Writer, results []*result) {
	fmt.Fprintln(w, "photo\theld_back\ttarget\tway\tbytes\tratio\tssimulacra2\tbutteraugli_3norm\ttrials\tcpu_s\tmissed")
	for _, r := range results {
		for _, part := range []struct {
			target string
			base   float64
			trials map[string]trial
		}{{"guetzli", float64(r.guetzli.bytes), r.asGood}, {"80", r.turbo80, r.auto}} {
			for _, name := range slices.Sorted(maps.Keys(part.trials)) {
				t := part.trials[name]
				fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%.0f\t%.3f\t%.2f\t%.4f\t%d\t%.2f\t%v\n", r.name, r.heldBack, part.target, name,
					t.bytes, t.bytes/part.base, t.scores.SSIMULACRA2, t.scores.Butteraugli, t.trials, t.cpu, t.missed)
			}
		}
	}
}
