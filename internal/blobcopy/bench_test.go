package blobcopy_test

import (
	"testing"

	"safelight/internal/blob"
	"safelight/internal/cdkblob/s3test"
)

// BenchmarkCopy copies 2,000 blobs of 100 kB into a directory and into a bucket,
// and looks at them again.
func BenchmarkCopy(b *testing.B) {
	const blobs, size = 2000, 100_000
	dir := b.TempDir()
	store := disk(b, dir)
	for i := range blobs {
		body, digest := bodyOf(uint64(i), size)
		put(b, store, blob.SourceName(digest), body)
	}
	storage := s3test.Start(b)
	for name, to := range map[string]blob.Store{"disk": disk(b, b.TempDir()), "bucket": bucket(b, storage.Bucket("photos", ""))} {
		for _, again := range []string{"", " again"} {
			b.Run(name+again, func(b *testing.B) {
				b.SetBytes(blobs * size)
				for range b.N { // once is enough: see -benchtime 1x
					if r, err := run(b, tree(b, dir), to, nil); err != nil || !r.Whole() {
						b.Fatal(figures(r), err)
					}
				}
			})
		}
	}
}
