package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
	"safelight/internal/node"
	"safelight/internal/task"
)

// Nodes is the registry of nodes in the same database. Heartbeats have a
// connection of their own: a node whose pool is exhausted is slow, and not gone.
// On it the process holds an advisory lock of its instance, which the server
// gives up when the process has ended, however it did.
type Nodes struct {
	db *DB

	mu     sync.Mutex
	self   node.Node
	conn   *pgx.Conn // nil until Join, and while it is lost
	locked bool      // conn holds the lock; otherwise an earlier connection may
}

var _ node.Registry = (*Nodes)(nil)

// Nodes makes a registry for one process.
func (db *DB) Nodes() *Nodes { return &Nodes{db: db} }

// nodeLocks is the seed of the advisory locks of instances.
const nodeLocks int64 = 0x5afe_1197_0003

// Statements about nodes. A heartbeat forgets those that have long been gone.
const (
	lockInstance = `SELECT pg_try_advisory_lock(hashtextextended($1, $2))`
	tryInstance  = `SELECT pg_try_advisory_xact_lock(hashtextextended($1, $2))`
	lockNode     = `SELECT instance, address, host, extract(epoch FROM clock_timestamp() - seen)::float8 FROM nodes WHERE name = $1 FOR UPDATE`
	forgetNode   = `DELETE FROM nodes WHERE name = $1 AND instance = $2`
	insertNode   = `INSERT INTO nodes (` + nodeColumns + `, started, seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), clock_timestamp()) ON CONFLICT DO NOTHING`
	beatNode     = `WITH forgotten AS (DELETE FROM nodes WHERE seen < clock_timestamp() - make_interval(secs => $4) AND name <> $1)
		UPDATE nodes SET seen = clock_timestamp(), state = $3 WHERE name = $1 AND instance = $2`
	selectMembers = `SELECT ` + nodeColumns + `, started, extract(epoch FROM clock_timestamp() - seen)::float8,
		(SELECT coalesce(json_object_agg(function, held), '{}')::text FROM
			(SELECT function, count(*) AS held FROM tasks WHERE state = 2 AND worker = '` + task.NodePrefix + `' || n.name GROUP BY function) h)
		FROM nodes n ORDER BY name`
	nodeColumns = `name, instance, address, role, version, host, cores, state`
)

// Join implements node.Registry.
func (s *Nodes) Join(ctx context.Context, n node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self = n
	return s.over(ctx, "joining the nodes", func() error { return s.enter(ctx, node.Ready) })
}

// Beat implements node.Registry.
func (s *Nodes) Beat(ctx context.Context, state node.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over(ctx, "storing a heartbeat", func() error {
		tag, err := s.conn.Exec(ctx, beatNode, s.self.Name, s.self.Instance, string(state), node.ForgetAfter.Seconds())
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		return s.enter(ctx, state)
	})
}

// over carries out work over the connection, which is made where there is none,
// and once more over another where that one was broken.
func (s *Nodes) over(ctx context.Context, doing string, work func() error) error {
	err := s.once(ctx, work)
	if broken(err) && ctx.Err() == nil {
		err = s.once(ctx, work)
	}
	return classify(err, doing)
}

// once carries out work over the connection, which is given up after an error.
func (s *Nodes) once(ctx context.Context, work func() error) error {
	if s.db.closed.Load() {
		return errClosed
	}
	err := s.connect(ctx)
	if err == nil {
		err = work()
	}
	if err != nil && fault.As(err) == nil {
		s.disconnect()
	}
	return err
}

// connect makes the connection, and takes the lock unless that is held.
func (s *Nodes) connect(ctx context.Context) (err error) {
	if s.conn != nil && s.conn.IsClosed() {
		s.conn, s.locked = nil, false
	}
	if s.conn == nil {
		if s.conn, err = pgx.ConnectConfig(ctx, s.db.pool.Config().ConnConfig); err != nil {
			return err
		}
	}
	if s.locked {
		return nil
	}
	return s.conn.QueryRow(ctx, lockInstance, s.self.Instance, nodeLocks).Scan(&s.locked)
}

func (s *Nodes) disconnect() {
	if s.conn != nil {
		_ = closeConn(s.conn)
	}
	s.conn, s.locked = nil, false
}

// enter writes the node's row, if nobody has the name.
func (s *Nodes) enter(ctx context.Context, state node.State) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	var other node.Node
	var age float64
	err = tx.QueryRow(ctx, lockNode, s.self.Name).Scan(&other.Instance, &other.Address, &other.Host, &age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return err
	default:
		if err := s.displace(ctx, tx, other, seconds(age)); err != nil {
			return err
		}
	}
	n := s.self
	tag, err := tx.Exec(ctx, insertNode, n.Name, n.Instance, n.Address, string(n.Role), n.Version, n.Host, n.Cores, string(state))
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 { // somebody else has entered it meanwhile
		return fault.New(fault.Conflict, "another process takes the node name %q at the same time; %s", n.Name, nameOwn)
	}
	return tx.Commit(ctx)
}

// nameOwn is what to do about a name that is used twice.
const nameOwn = "give each node a name of its own (node, or SAFELIGHT_NODE)"

// displace removes the row of a process that has ended, or has not been heard of
// for long, and refuses to remove another's.
func (s *Nodes) displace(ctx context.Context, tx pgx.Tx, other node.Node, age time.Duration) error {
	ended := other.Instance == s.self.Instance
	if !ended {
		if err := tx.QueryRow(ctx, tryInstance, other.Instance, nodeLocks).Scan(&ended); err != nil {
			return err
		}
	}
	if !ended && age < node.GoneAfter {
		return fault.New(fault.Conflict, "the node name %q is in use by the process at %s on the host %s, last heard of %s ago; %s. The name of a machine that was cut off is free %s after that",
			s.self.Name, other.Address, other.Host, age.Round(time.Second), nameOwn, node.GoneAfter)
	}
	_, err := tx.Exec(ctx, forgetNode, s.self.Name, other.Instance)
	return err
}

// Leave implements node.Registry.
func (s *Nodes) Leave(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.disconnect()
	return s.over(ctx, "leaving the nodes", func() error {
		_, err := s.conn.Exec(ctx, forgetNode, s.self.Name, s.self.Instance)
		return err
	})
}

// Members implements node.Registry.
func (s *Nodes) Members(ctx context.Context) ([]node.Member, error) {
	return collect(ctx, s.db, scanMember, "listing nodes", selectMembers)
}

func scanMember(s scanner) (m node.Member, err error) {
	var age float64
	var running string
	if err := s.Scan(&m.Name, &m.Instance, &m.Address, &m.Role, &m.Version, &m.Host, &m.Cores, &m.State, &m.Started, &age, &running); err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(running), &m.Running); err != nil {
		return m, stored.Damaged(err)
	}
	m.Started, m.Age = m.Started.UTC(), max(seconds(age), 0)
	m.State = node.StateOf(m.State, m.Age)
	return m, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
