package postgres

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
)

var _ blob.Fence = (*DB)(nil)

// removalTime is how long a removal that its node does not end is taken to be
// under way: longer than any request to a store may still have an effect.
const removalTime = 5 * time.Minute

// Raise implements blob.Fence. It waits for the transactions that are about to
// store a row for such bytes, and those that come later see its own.
func (db *DB) Raise(ctx context.Context, digest string) (lower func(context.Context) error, err error) {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != len(asset.Digest{}) {
		return nil, fault.New(fault.Internal, "%.80q is no digest", digest)
	}
	var raised int64
	err = db.transact(ctx, "announcing a removal", func(t *tx) error {
		b := t.batch()
		b.Queue(fenceExclusive, fenceClass, fenceStripe(raw))
		b.Queue(putRemoval, raw, db.node, removalTime.Milliseconds()).Exec(func(tag pgconn.CommandTag) error {
			raised = tag.RowsAffected()
			return nil
		})
		return t.finish(b)
	})
	if err != nil {
		return nil, err
	}
	if raised == 0 {
		return nil, fault.New(fault.Conflict, "another node is removing the same bytes")
	}
	return func(ctx context.Context) error {
		_, err := db.exec(ctx, "ending a removal", dropRemoval, raw, db.node)
		return err
	}, nil
}

// fenceClass tells these advisory locks from others.
const fenceClass int32 = 0x5afe_03

// fenceStripes is how many locks there are: a change of any size holds few, and
// two removals seldom meet.
const fenceStripes = 64

func fenceStripe(digest []byte) int32 { return int32(digest[0]) % fenceStripes }

// checkRemovals adds to a batch that none of the bytes may be on their way out,
// and that none will be until the transaction has ended. It comes before
// anything that the transaction locks in the same batch but tasks.
func checkRemovals(b *pgx.Batch, digests [][]byte) {
	if len(digests) == 0 {
		return
	}
	stripes := make([]int32, len(digests))
	for i, d := range digests {
		stripes[i] = fenceStripe(d)
	}
	slices.Sort(stripes)
	for _, stripe := range slices.Compact(stripes) {
		b.Queue(fenceShared, fenceClass, stripe)
	}
	b.Queue(selectRemovals, digests).Query(func(rows pgx.Rows) error {
		if !rows.Next() {
			return nil
		}
		e := fault.New(fault.Unavailable, "the same bytes are just being removed on another node; try again")
		e.RetryAfter = time.Second
		return e
	})
}
