package render

import (
	"errors"
	"time"

	"safelight/internal/plan"
)

// Config bounds rendering.
type Config struct {
	Plan        plan.Config   `koanf:",squash"`
	Budget      int64         `koanf:"memory_budget"` // bytes of pixels held by all renders at once
	Queue       int           `koanf:"queue"`         // renders that may wait
	QueueWait   time.Duration `koanf:"queue_wait"`
	Deadline    time.Duration `koanf:"deadline"`         // from the request to the rendition, waiting included
	KeepInCache int64         `koanf:"max_memory_entry"` // bytes; larger renditions are kept on disk only
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{Plan: plan.DefaultConfig(), Budget: 1 << 30, Queue: 256, QueueWait: 5 * time.Second, Deadline: 10 * time.Second, KeepInCache: 2 << 20}
}

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	err := c.Plan.Validate()
	if c.Budget < 1<<20 || c.Queue < 1 || c.QueueWait <= 0 || c.Deadline <= 0 || c.KeepInCache < 0 {
		err = errors.Join(err, errors.New("render: memory_budget must be at least 1 MiB, queue at least 1, queue_wait and deadline above 0 and max_memory_entry not negative"))
	}
	return err
}
