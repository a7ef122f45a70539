package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/mattn/go-sqlite3"

	"safelight/internal/fault"
)

// groupJobs bounds how many jobs share a transaction.
const groupJobs = 1024

// operation is one step of a job. It may run several times (a transaction that
// failed is tried again in parts), so it must set its results and not add to
// them.
type operation func(*tx) error

// job is operations that are carried out together or not at all.
type job struct {
	operations []operation
	state      atomic.Int32 // queued, then taken or dropped
	err        error
	done       chan struct{}
}

const (
	queued int32 = iota
	taken
	dropped
)

// writer owns the connection that changes the database. Each round it takes
// every job that waits and carries them out in one transaction, each in a
// savepoint of its own, and answers them after COMMIT. Rounds grow with the
// load, as jobs queue up behind the fsync of the one before.
type writer struct {
	tx   *tx
	jobs chan *job
	idle chan struct{} // closed when the goroutine has ended

	mu   sync.RWMutex // held for writing only to close jobs
	shut bool
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, classify(err, "opening the database for writing")
	}
	t := &tx{conn: conn}
	for i, text := range writeSQL {
		if t.stmts[i], err = conn.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(classify(err, "preparing the database's statements"), conn.Close())
		}
	}
	w := &writer{tx: t, jobs: make(chan *job, groupJobs), idle: make(chan struct{})}
	go w.run()
	return w, nil
}

// do carries out operations in one transaction and returns when they are
// durable. A ctx that ends while they are still queued drops them.
func (w *writer) do(ctx context.Context, operations ...operation) error {
	if err := ctx.Err(); err != nil {
		return classify(err, "queueing a change")
	}
	j := &job{operations: operations, done: make(chan struct{})}
	if err := w.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(queued, dropped) {
			return classify(ctx.Err(), "waiting for a change's turn")
		}
		<-j.done
	}
	return j.err
}

func (w *writer) enqueue(ctx context.Context, j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.shut {
		return errClosed
	}
	select {
	case w.jobs <- j:
		return nil
	case <-ctx.Done():
		return classify(ctx.Err(), "queueing a change")
	}
}

func (w *writer) closed() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.shut
}

// close finishes what is queued and gives the connection back.
func (w *writer) close() {
	w.mu.Lock()
	if !w.shut {
		w.shut = true
		close(w.jobs)
	}
	w.mu.Unlock()
	<-w.idle
}

func (w *writer) run() {
	defer close(w.idle)
	defer w.tx.close()
	var group []*job
	for first := range w.jobs {
		group = w.gather(append(group[:0], first))
		w.commit(group)
		for _, j := range group {
			close(j.done)
		}
		clear(group)
	}
}

// gather adds what is waiting behind the first job, and takes out what was
// dropped.
func (w *writer) gather(group []*job) []*job {
	if !group[0].state.CompareAndSwap(queued, taken) {
		group = group[:0]
	}
	for len(group) < groupJobs {
		select {
		case j, ok := <-w.jobs:
			if !ok {
				return group
			}
			if j.state.CompareAndSwap(queued, taken) {
				group = append(group, j)
			}
		default:
			return group
		}
	}
	return group
}

// commit carries out a group. When there is no room for all of it, each job is
// tried alone, so that a large one doesn't fail the small ones.
func (w *writer) commit(group []*job) {
	if len(group) == 0 {
		return
	}
	err := w.tx.run(group)
	if err == nil {
		return
	}
	for i, j := range group {
		j.err = err
		if len(group) > 1 && fault.Of(err) == fault.OutOfSpace {
			if alone := w.tx.run(group[i : i+1]); alone != nil {
				j.err = alone
			}
		}
	}
}

// tx is the writer's connection with its statements. Operations use exec and
// row while a transaction is open.
type tx struct {
	conn  *sql.Conn
	stmts [writeStatements]*sql.Stmt
}

// run carries out jobs in one transaction. A job that fails alone has its err
// set; an error that is returned failed them all.
func (t *tx) run(group []*job) error {
	if err := t.begin(); err != nil {
		return classify(err, "beginning a transaction")
	}
	for _, j := range group {
		j.err = t.apply(j)
		if j.err != nil && t.autoCommit() { // SQLite has rolled back everything
			return j.err
		}
	}
	if _, err := t.exec(sqlCommit); err != nil {
		_, _ = t.exec(sqlRollback)
		return classify(err, "committing")
	}
	return nil
}

func (t *tx) begin() error {
	_, err := t.exec(sqlBegin)
	if err != nil && !t.autoCommit() { // a rollback had failed
		if _, err = t.exec(sqlRollback); err == nil {
			_, err = t.exec(sqlBegin)
		}
	}
	return err
}

// apply carries out one job in a savepoint.
func (t *tx) apply(j *job) error {
	if _, err := t.exec(sqlSavepoint); err != nil {
		return classify(err, "setting a savepoint")
	}
	var err error
	for _, op := range j.operations {
		if err = op(t); err != nil {
			break
		}
	}
	if err != nil {
		if _, undo := t.exec(sqlRollbackTo); undo != nil && !t.autoCommit() {
			_, _ = t.exec(sqlRollback) // so that no part of the job can be committed
		}
	}
	if !t.autoCommit() {
		if _, release := t.exec(sqlRelease); err == nil {
			err = release
		}
	}
	return classify(err, "changing the database")
}

// autoCommit tells whether no transaction is open.
func (t *tx) autoCommit() bool {
	auto := true
	_ = t.conn.Raw(func(c any) error {
		if conn, ok := c.(*sqlite3.SQLiteConn); ok {
			auto = conn.AutoCommit()
		}
		return nil
	})
	return auto
}

// exec runs a statement and tells how many rows it changed.
func (t *tx) exec(statement int, args ...any) (changed int64, err error) {
	res, err := t.stmts[statement].ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// row runs a statement that gives at most one row; the error of Scan is
// sql.ErrNoRows where there is none.
func (t *tx) row(statement int, args ...any) *sql.Row {
	return t.stmts[statement].QueryRowContext(context.Background(), args...)
}

// rows runs a statement that gives any number of rows.
func (t *tx) rows(statement int, args ...any) (*sql.Rows, error) {
	return t.stmts[statement].QueryContext(context.Background(), args...)
}

func (t *tx) close() {
	for _, s := range t.stmts {
		_ = s.Close()
	}
	_ = t.conn.Close()
}
