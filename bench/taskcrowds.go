package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"safelight/internal/task"
)

// crowd is how many tasks lie about that a claim must not notice.
const crowd = 1_000_000

// taskCrowds measures the processor time of claims among many tasks that are
// none of theirs, against claims from an empty table.
func (b *bench) taskCrowds(ctx context.Context) ([]row, error) {
	empty, err := openPort(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer empty.close()
	var rows []row
	for _, c := range []struct {
		what     string
		finished bool
	}{{"1,000,000 finished tasks", true}, {"1,000,000 waiting tasks of another owner", false}} {
		crowded, err := openPort(ctx, b.dir)
		if err != nil {
			return nil, err
		}
		if err := crowded.fill(c.finished); err != nil {
			return nil, fmt.Errorf("%s: %w", c.what, err)
		}
		var us, them []float64
		for round := range b.rounds + 1 {
			o, err := crowded.claimCPU(200)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.what, err)
			}
			t, err := empty.claimCPU(200)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				us, them = append(us, o), append(them, t)
			}
		}
		crowded.close()
		rows = append(rows, paired("tasks: CPU of a claim among "+c.what+"; against an empty table", "µs", 1e6, us, them, "≤ 1.5"))
	}
	return rows, nil
}

// fill copies one task of another owner a million times.
func (p *port) fill(finished bool) error {
	one := newTasks(1)
	one[0].Owner = "another"
	stored, err := p.Submit(p.ctx, one)
	if err != nil {
		return err
	}
	if finished {
		if err := p.finish(0, 1); err != nil {
			return err
		}
	}
	db, err := sql.Open("sqlite3", "file:"+p.path+"?_journal_mode=WAL&_synchronous=OFF")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var columns string
	if err := db.QueryRow(`SELECT group_concat(name, ', ') FROM pragma_table_info('tasks')`).Scan(&columns); err != nil {
		return err
	}
	values := strings.Replace(columns, "id,", "unhex(printf('00%030x', i)),", 1)
	id := stored[0].ID
	_, err = db.Exec(`WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO tasks (`+columns+`) SELECT `+values+` FROM n, tasks WHERE id = ?`, crowd, id[:])
	if err != nil {
		return err
	}
	_, err = db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	return err
}

// claimCPU is the processor seconds of a claim of one task by one worker.
func (p *port) claimCPU(n int) (float64, error) {
	own := newTasks(n)
	if _, err := p.Submit(p.ctx, own); err != nil {
		return 0, err
	}
	held := make([]task.Task, 0, n)
	before := ownCPU()
	for range n {
		got, err := p.Claim(p.ctx, task.Claim{Functions: []string{taskFunction}, Owner: own[0].Owner, Worker: "bench", Max: 1, Lease: time.Minute})
		if err := all(len(got), 1, err); err != nil {
			return 0, err
		}
		held = append(held, got...)
	}
	spent := ownCPU() - before
	return spent / float64(n), p.report(held)
}
