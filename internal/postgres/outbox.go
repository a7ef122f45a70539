package postgres

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
)

// outbox collects what this node has to tell the others. Notifications go out
// after the commits that they tell of, one statement for all that have gathered,
// since PostgreSQL commits transactions that notify one after the other. What is
// lost on the way, the others find by looking (keepLooking).
type outbox struct {
	node string
	some chan struct{}

	mu      sync.Mutex
	pending effects
}

func newOutbox(node string) *outbox { return &outbox{node: node, some: make(chan struct{}, 1)} }

// maxChanged bounds the tasks of which one notification tells that they have
// changed. Who watches one looks again from time to time.
const maxChanged = 100

// put adds what a transaction has done.
func (o *outbox) put(e *effects) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for function, n := range e.ready {
		if o.pending.ready == nil {
			o.pending.ready = make(map[string]int)
		}
		o.pending.ready[function] += n
	}
	o.pending.freed = o.pending.freed || e.freed
	o.pending.due = sooner(o.pending.due, e.due)
	room := maxChanged - len(o.pending.changed)
	o.pending.changed = append(o.pending.changed, e.changed[:min(len(e.changed), max(room, 0))]...)
	if len(e.ready)+len(e.changed) == 0 && !e.freed && e.due.IsZero() {
		return
	}
	select {
	case o.some <- struct{}{}:
	default:
	}
}

func (o *outbox) take() effects {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.pending
	o.pending = effects{}
	return e
}

// notice is what a notification says. Ends of leases are not told: the node that
// gave them out looks at them, and if it is gone, others find them by looking.
type notice struct {
	Node    string         `json:"node"`
	Ready   map[string]int `json:"ready,omitempty"`   // by function
	Freed   bool           `json:"freed,omitempty"`   // a lock
	Due     int64          `json:"due,omitempty"`     // milliseconds
	Changed [][]byte       `json:"changed,omitempty"` // ids of tasks
}

// maxPayload is below PostgreSQL's limit of 8000 bytes, and maxTold bounds the
// functions that are named.
const (
	maxPayload = 7900
	maxTold    = 50
)

func (o *outbox) encode(e effects) string {
	n := notice{Node: o.node, Ready: e.ready, Freed: e.freed, Due: stored.Millis(e.due)}
	if len(n.Ready) > maxTold {
		n.Ready = maps.Clone(n.Ready)
		maps.DeleteFunc(n.Ready, func(string, int) bool { return len(n.Ready) > maxTold })
	}
	for _, id := range e.changed {
		n.Changed = append(n.Changed, id[:])
	}
	text, err := json.Marshal(n)
	if err != nil || len(text) > maxPayload {
		n.Changed = nil
		text, _ = json.Marshal(n)
	}
	return string(text)
}

// tellTime bounds how long telling may take.
const tellTime = 5 * time.Second

// keepTelling sends what has gathered, until ctx ends.
func (q *Tasks) keepTelling(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-q.outbox.some:
		case <-ctx.Done():
		}
		q.notify(context.WithoutCancel(ctx), q.outbox.take())
	}
}

// notify tells other nodes; what fails, they find by looking.
func (q *Tasks) notify(ctx context.Context, e effects) {
	if len(e.ready)+len(e.changed) == 0 && !e.freed && e.due.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	conn, err := q.db.pool.Acquire(ctx)
	if err != nil {
		return
	}
	defer conn.Release()
	t := &tx{ctx: ctx, conn: conn}
	b := t.batch()
	b.Queue(`SET LOCAL synchronous_commit = off`) // it is forgotten in a crash anyway
	b.Queue(`SELECT pg_notify($1, $2)`, channel, q.outbox.encode(e))
	if err := t.finish(b); err != nil && !conn.Conn().IsClosed() {
		_, _ = conn.Exec(ctx, `ROLLBACK`)
	}
}

// pass tells this process what another node has told.
func (q *Tasks) pass(payload string) {
	var n notice
	if err := json.Unmarshal([]byte(payload), &n); err != nil || n.Node == q.outbox.node {
		return
	}
	e := effects{ready: n.Ready, freed: n.Freed, due: stored.TimeOrZero(n.Due)}
	for _, raw := range n.Changed {
		if len(raw) == len(asset.ID{}) {
			e.changed = append(e.changed, asset.ID(raw))
		}
	}
	q.send(&e)
}
