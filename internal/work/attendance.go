package work

import (
	"context"
	"sync"
	"time"
)

// Attendance tells which functions somebody carries out. It is safe for
// concurrent use, and cheap enough to ask for every task of a listing.
type Attendance struct {
	engine *Engine

	mu     sync.Mutex
	looked time.Time
	asked  map[string]time.Time // when workers last asked for a function, on any node
}

// Times of attendance: a worker that has not asked for longer than attended is
// taken to be gone, and a claim may wait for a minute; what is known of other
// nodes is attendanceAge old at most.
const (
	attended      = 90 * time.Second
	attendanceAge = 2 * time.Second
)

// Attendance makes an Attendance over the engine.
func (e *Engine) Attendance() *Attendance { return &Attendance{engine: e} }

// Attended tells whether a function is carried out by the server itself, or a
// worker has asked for it within the last 90 s; what was asked of this node
// counts from then on. While the database can't be asked, what was known before
// counts.
func (a *Attendance) Attended(function string) bool {
	if _, own := a.engine.functions[function]; own && !a.engine.policies.For(function).Worker {
		return true
	}
	if time.Since(a.engine.askedHere(function)) < attended {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.looked) >= attendanceAge {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if asked, err := a.engine.queue.Announced(ctx); err == nil {
			a.asked = asked
		}
		a.looked = now
	}
	return time.Since(a.asked[function]) < attended
}
