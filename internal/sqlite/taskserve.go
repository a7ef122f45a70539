package sqlite

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// merge claims up to want tasks of lanes of one function and owner, in the
// order of their ids.
func (k *claiming) merge(lanes []lane, want int) (int, error) {
	if len(lanes) == 1 { // the usual case
		room, err := k.roomIn(lanes[0], want)
		if err != nil || room == 0 {
			return 0, err
		}
		tasks, err := k.t.tasks(sqlReadyTasks, lanes[0].at(room)...)
		if err != nil {
			return 0, err
		}
		return len(tasks), k.start(lanes[0], tasks)
	}
	ready, err := k.ready(lanes, want)
	if err != nil {
		return 0, err
	}
	got := 0
	for _, r := range ready {
		if got == want {
			break
		}
		room, err := k.roomIn(r.lane, 1)
		if err != nil {
			return got, err
		}
		if room == 0 {
			continue
		}
		tasks, err := k.t.tasks(sqlLoadTask, r.id[:])
		if err != nil {
			return got, err
		}
		if err := k.start(r.lane, tasks); err != nil {
			return got, err
		}
		got++
	}
	return got, nil
}

// at are the arguments of a statement that finds the first tasks of a lane.
func (l lane) at(limit int) []any {
	return []any{l.function, l.rank, l.owner, l.lock, limit}
}

type readyTask struct {
	id   asset.ID
	lane lane
}

// ready lists the first tasks of lanes, up to want of each, by their ids.
func (k *claiming) ready(lanes []lane, want int) ([]readyTask, error) {
	var all []readyTask
	for _, l := range lanes {
		room, err := k.roomIn(l, want)
		if err != nil {
			return nil, err
		}
		rows, err := k.t.rows(sqlReadyIDs, l.at(room)...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var id []byte
			if err := rows.Scan(&id); err != nil {
				_ = rows.Close()
				return nil, err
			}
			r := readyTask{lane: l}
			copy(r.id[:], id)
			all = append(all, r)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b readyTask) int { return bytes.Compare(a.id[:], b.id[:]) })
	return all, nil
}

// start hands out tasks of a lane.
func (k *claiming) start(l lane, tasks []task.Task) error {
	policy := k.q.cfg.Policies.For(l.function)
	for i := range tasks {
		tasks[i].Claimed(k.c, newToken(), policy, k.now, k.steady)
		k.done.note(&tasks[i])
		if err := k.t.moveTask(&tasks[i]); err != nil {
			return err
		}
	}
	k.claimed = append(k.claimed, tasks...)
	k.left -= len(tasks)
	k.use(l, len(tasks))
	return nil
}

// newToken is 128 random bits.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
