package codec

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"safelight/internal/codec/worker"
)

// The test binary is its own codec process.
func TestMain(m *testing.M) {
	if os.Getenv("SAFELIGHT_CODEC_CHILD") != "" {
		os.Exit(worker.Main())
	}
	goleak.VerifyTestMain(m)
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Command = []string{"/proc/self/exe"}
	cfg.Processes = 2
	return cfg
}

func openPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	p, err := Open(context.Background(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// file puts bytes in a file of their own, open for reading.
func file(t testing.TB, b []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "source")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}
