package remote

import (
	"sync"
	"time"

	"safelight/internal/asset"
)

// note is what is remembered of a key, in this process only. What is lost with
// it costs one fetch without validators.
type note struct {
	image      asset.ID // that the rest is about; zero where there is none
	checked    time.Time
	validators Validators

	err   error // of the latest fetch
	until time.Time
}

// maxNotes bounds what is remembered, at up to some 2 KiB each.
const maxNotes = 16384

// notes are by owner and key. They are safe for concurrent use.
type notes struct {
	mu  sync.Mutex
	all map[string]note
}

func (n *notes) get(name string) note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name]
}

// set remembers, and forgets any other when there are too many.
func (n *notes) set(name string, x note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = make(map[string]note)
	}
	if _, known := n.all[name]; !known && len(n.all) >= maxNotes {
		for other := range n.all {
			delete(n.all, other)
			break
		}
	}
	n.all[name] = x
}
