//go:build race

package worker

// The race detector maps terabytes of its own, which a limit on data would refuse.
const raceDetector = true
