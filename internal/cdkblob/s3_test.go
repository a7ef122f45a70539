package cdkblob_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/cdkblob"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/objectblob"
)

// quick is a configuration for tests: what fails does so soon.
func quick() objectblob.Config {
	c := objectblob.DefaultConfig()
	c.PartBytes, c.Attempts, c.Stall = 5<<20, 2, 5*time.Second
	return c
}

func open(t testing.TB, url string, c objectblob.Config) *objectblob.Store {
	t.Helper()
	s, err := cdkblob.Open(context.Background(), cdkblob.Options{URL: url, Config: c, Spool: filepath.Join(t.TempDir(), "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestS3(t *testing.T) {
	s3test.SetEnv(t)
	server := s3test.Start(t)
	var buckets atomic.Int64
	for _, prefix := range []string{"", "pre/fix"} {
		t.Run(fmt.Sprintf("prefix %q", prefix), func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Store {
				return open(t, server.Bucket(fmt.Sprint("suite", buckets.Add(1)), prefix), quick())
			})
		})
	}
}
