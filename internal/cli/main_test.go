package cli

import (
	"os"
	"testing"

	"safelight/internal/codec/worker"
)

// childVar makes the test binary the program itself. It has not the prefix of
// settings, which would be refused.
const childVar = "TEST_IS_SAFELIGHT"

// The test binary is its own codec process, and its own program.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("SAFELIGHT_CODEC_CHILD") != "":
		os.Exit(worker.Main())
	case os.Getenv(childVar) != "":
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}
