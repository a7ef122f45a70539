package node

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"safelight/internal/fault"
)

// Membership keeps a process known as a node. It is safe for concurrent use.
type Membership struct {
	registry Registry
	self     Node
	log      *slog.Logger
	draining chan struct{} // has a value once the node drains

	unattended atomic.Bool // no node carries out tasks
}

// NewMembership makes a membership that has not begun.
func NewMembership(registry Registry, self Node, log *slog.Logger) *Membership {
	return &Membership{registry: registry, self: self, log: log, draining: make(chan struct{}, 1)}
}

// joinTime is how long a start waits for a name: PostgreSQL needs a moment to
// notice that the process is gone that had it. tryEvery is between two looks.
const (
	joinTime = 3 * time.Second
	tryEvery = 100 * time.Millisecond
)

// Join makes the node known at an address; fault.Conflict when another process
// keeps its name.
func (m *Membership) Join(ctx context.Context, address string) error {
	m.self.Address = address
	for end := time.Now().Add(joinTime); ; {
		err := m.registry.Join(ctx, m.self)
		if err == nil {
			return nil
		}
		if fault.Of(err) != fault.Conflict || !time.Now().Before(end) {
			m.Leave()
			return err
		}
		if !pause(ctx, tryEvery) {
			return ctx.Err()
		}
	}
}

// Keep tells that the node is there until ctx ends. It ends before that, with an
// error, only when another process has its name.
func (m *Membership) Keep(ctx context.Context) error {
	beat := time.NewTicker(BeatEvery)
	defer beat.Stop()
	state, failing := Ready, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.draining:
			state = Draining
		case <-beat.C:
		}
		err := m.beat(ctx, state)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && failing:
			m.log.Info("this node's heartbeats are stored again")
		case fault.Of(err) == fault.Conflict && err != nil:
			return err
		case err != nil && !failing:
			m.log.Warn("this node's heartbeat can't be stored; trying again and again", "error", err)
		}
		failing = err != nil
		if !failing {
			m.look(ctx)
		}
	}
}

// beat is one heartbeat, which must not hold up the next.
func (m *Membership) beat(ctx context.Context, s State) error {
	ctx, cancel := context.WithTimeout(ctx, BeatEvery)
	defer cancel()
	return m.registry.Beat(ctx, s)
}

// look finds out whether anybody carries out tasks, where this node does not.
func (m *Membership) look(ctx context.Context) {
	if m.self.Role.Works() {
		return
	}
	members, err := m.registry.Members(ctx)
	if err != nil {
		return // the heartbeat or a request will tell
	}
	missing := !Attended(members)
	if missing == m.unattended.Swap(missing) {
		return
	}
	if missing {
		m.log.Warn(Unattended)
		return
	}
	m.log.Info("a node carries out tasks again")
}

// Unattended is what is wrong where every node has the role api.
const Unattended = "no node carries out tasks: presets are not made, and nothing is published or swept, until one with the role worker or all is there"

// Attended tells whether a node carries out tasks, as of the last heartbeat.
func (m *Membership) Attended() bool { return !m.unattended.Load() }

// Drain tells others soon that the node is about to leave. It is called once.
func (m *Membership) Drain() { m.draining <- struct{}{} }

// leaveTime bounds how long a node waits to be forgotten; otherwise it will be
// gone.
const leaveTime = 2 * time.Second

// Leave forgets the node; Keep has ended before.
func (m *Membership) Leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if err := m.registry.Leave(ctx); err != nil {
		m.log.Warn("this node could not be taken off the list of nodes; it will be listed as gone", "error", err)
	}
}

// Name is this node's.
func (m *Membership) Name() string { return m.self.Name }

// Members lists the nodes.
func (m *Membership) Members(ctx context.Context) ([]Member, error) { return m.registry.Members(ctx) }

// pause waits; false tells that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
