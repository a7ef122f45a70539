package cdkblob_test

import (
	"strings"
	"testing"

	"safelight/internal/cdkblob/s3test"
	"safelight/internal/fault"
)

// TestDenied has the wrong keys.
func TestDenied(t *testing.T) {
	server := s3test.Start(t)
	url := server.Bucket("bucket", "")
	for what, keys := range map[string][2]string{"secret": {s3test.AccessKey, "a-wrong-key"}, "name": {"nobody", "a-wrong-key"}} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", keys[0])
			t.Setenv("AWS_SECRET_ACCESS_KEY", keys[1])
			for call, do := range calls(t, open(t, url, quick())) {
				err := do()
				wantUnavailable(t, call, err)
				if known := fault.As(err); known != nil && !strings.Contains(known.Message, "access to the bucket bucket was denied") {
					t.Errorf("%s: %v", call, err)
				}
				if strings.Contains(err.Error(), "a-wrong-key") {
					t.Errorf("%s: the error has the key: %v", call, err)
				}
			}
		})
	}
}
