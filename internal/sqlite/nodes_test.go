package sqlite_test

import (
	"testing"

	"safelight/internal/asset"
	"safelight/internal/node/nodetest"
	"safelight/internal/task"
)

func TestNodes(t *testing.T) {
	nodetest.Run(t, func(t *testing.T) nodetest.Fixture {
		q := openQueue(t, t.TempDir(), task.Config{
			Mint: asset.NewMint([]byte("a secret for tests")), Policies: task.Policies{Default: task.DefaultPolicy()}, Signals: task.NewSignals(),
		})
		return nodetest.Fixture{Registry: q.db.Nodes(), Queue: q}
	})
}
