package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"safelight/internal/asset"
	"safelight/internal/sqlite"
	"safelight/internal/task"
	"safelight/internal/work"
)

// port is the queue in this process, as the server has it, with the engine over
// it.
type port struct {
	*sqlite.Tasks
	engine *work.Engine
	db     *sqlite.DB
	path   string
	ctx    context.Context
}

// openPort opens a fresh database.
func openPort(ctx context.Context, dir string) (*port, error) {
	dir, err := os.MkdirTemp(dir, "port-")
	if err != nil {
		return nil, err
	}
	p := &port{path: filepath.Join(dir, "catalog.db"), ctx: ctx}
	if p.db, err = sqlite.Open(ctx, sqlite.Config{Path: p.path}); err != nil {
		return nil, err
	}
	config := work.DefaultConfig()
	policies, signals := config.Policies(nil), task.NewSignals()
	if p.Tasks, err = p.db.Tasks(ctx, task.Config{Mint: asset.NewMint([]byte("bench")), Policies: policies, Signals: signals}); err != nil {
		return nil, err
	}
	p.engine = work.New(config, "bench", p.Tasks, signals, policies, nil, uncounted{}, slog.New(slog.DiscardHandler))
	return p, nil
}

func (p *port) close() { _ = p.db.Close() }

// uncounted is metrics that nobody reads.
type uncounted struct{}

func (uncounted) Attempt(string, string)            {}
func (uncounted) AttemptTime(string, time.Duration) {}

func newTasks(n int) []task.New {
	tasks := make([]task.New, n)
	for i := range tasks {
		tasks[i] = task.New{Owner: asset.DefaultOwner, Function: taskFunction, Args: []byte(taskArgs)}
	}
	return tasks
}

func (p *port) submit(_, n int) error {
	_, err := p.Submit(p.ctx, newTasks(n))
	return err
}

func (p *port) finish(_, n int) error {
	got, err := p.Claim(p.ctx, task.Claim{Functions: []string{taskFunction}, Worker: "bench", Max: n, Lease: taskLease})
	if err := all(len(got), n, err); err != nil {
		return err
	}
	return p.report(got)
}

// all is an error where a claim has failed or not given everything.
func all(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("claimed %d of %d tasks", got, want)
	}
	return err
}

// report tells that tasks are done.
func (p *port) report(tasks []task.Task) error {
	reports := make([]task.Report, len(tasks))
	for i, t := range tasks {
		reports[i] = task.Report{ID: t.ID, Lease: t.Lease, Kind: task.Succeeded, Result: []byte(taskResult)}
	}
	answers, err := p.Report(p.ctx, reports)
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
	}
	return err
}

// bareSQLite is the least that a durable queue in SQLite can do: one
// connection, rows of about the same bytes without any index, one transaction
// with one fsync for everything that waits.
type bareSQLite struct {
	db                     *sql.DB
	begin, commit          *sql.Stmt
	insert, claim, succeed *sql.Stmt
	jobs                   chan *bareJob
	ended                  chan struct{}
	stored, done           atomic.Uint64
}

type bareJob struct {
	stmt *sql.Stmt
	args [][]any
	done chan error
}

func openBare(dir string) (*bareSQLite, error) {
	dir, err := os.MkdirTemp(dir, "bare-")
	if err != nil {
		return nil, err
	}
	b := &bareSQLite{jobs: make(chan *bareJob, 1024), ended: make(chan struct{})}
	if b.db, err = sql.Open("sqlite3", "file:"+filepath.Join(dir, "bare.db")+"?_journal_mode=WAL&_synchronous=FULL"); err != nil {
		return nil, err
	}
	b.db.SetMaxOpenConns(1)
	if _, err := b.db.Exec(`PRAGMA wal_autocheckpoint = 4000; CREATE TABLE tasks (id BLOB PRIMARY KEY, owner TEXT, function TEXT, args TEXT,
		image BLOB, created INTEGER, state INTEGER, worker TEXT, lease TEXT, until INTEGER, result TEXT) WITHOUT ROWID`); err != nil {
		return nil, err
	}
	for stmt, text := range map[**sql.Stmt]string{
		&b.begin: "BEGIN IMMEDIATE", &b.commit: "COMMIT",
		&b.insert:  "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, 1, '', '', 0, '')",
		&b.claim:   "UPDATE tasks SET state = 2, worker = ?, lease = ?, until = ? WHERE id = ?",
		&b.succeed: "UPDATE tasks SET state = 3, result = ? WHERE id = ?",
	} {
		if *stmt, err = b.db.Prepare(text); err != nil {
			return nil, err
		}
	}
	go b.write()
	return b, nil
}

func (b *bareSQLite) close() {
	close(b.jobs)
	<-b.ended
	_ = b.db.Close()
}

// write commits whatever waits.
func (b *bareSQLite) write() {
	defer close(b.ended)
	for first := range b.jobs {
		group := []*bareJob{first}
		for more := true; more && len(group) < cap(b.jobs); {
			select {
			case j, ok := <-b.jobs:
				if more = ok; ok {
					group = append(group, j)
				}
			default:
				more = false
			}
		}
		err := b.together(group)
		for _, j := range group {
			j.done <- err
		}
	}
}

func (b *bareSQLite) together(group []*bareJob) error {
	if _, err := b.begin.Exec(); err != nil {
		return err
	}
	for _, j := range group {
		for _, args := range j.args {
			if _, err := j.stmt.Exec(args...); err != nil {
				return err
			}
		}
	}
	_, err := b.commit.Exec()
	return err
}

func (b *bareSQLite) do(stmt *sql.Stmt, args [][]any) error {
	j := &bareJob{stmt, args, make(chan error, 1)}
	b.jobs <- j
	return <-j.done
}

// bareID is the n-th id; like those of the queue they rise.
func bareID(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 8, 16), n) }

func (b *bareSQLite) submit(_, n int) error {
	last := b.stored.Add(uint64(n))
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{bareID(last - uint64(i)), asset.DefaultOwner, taskFunction, taskArgs, make([]byte, 16), time.Now().UnixMilli()}
	}
	return b.do(b.insert, rows)
}

func (b *bareSQLite) finish(_, n int) error {
	last := b.done.Add(uint64(n))
	claims, reports := make([][]any, n), make([][]any, n)
	for i := range n {
		id := bareID(last - uint64(i))
		claims[i] = []any{"bench", rand.Text(), time.Now().UnixMilli(), id}
		reports[i] = []any{taskResult, id}
	}
	if err := b.do(b.claim, claims); err != nil {
		return err
	}
	return b.do(b.succeed, reports)
}
