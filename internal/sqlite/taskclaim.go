package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"safelight/internal/task"
)

// Claim implements task.Queue.
func (q *Tasks) Claim(ctx context.Context, c task.Claim) ([]task.Task, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if some, err := q.anyReady(ctx, c.Functions); err != nil || !some {
		return nil, err
	}
	var claimed []task.Task
	err := q.change(ctx, func(t *tx, done *effects) error {
		now, steady := q.clock()
		k := &claiming{q: q, t: t, c: c, now: now, steady: steady, done: done, room: make(map[string]int), left: c.Max}
		err := k.run()
		claimed = k.claimed
		return err
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// anyReady looks without a transaction whether a claim could find something.
func (q *Tasks) anyReady(ctx context.Context, functions []string) (bool, error) {
	for _, f := range functions {
		var some bool
		if err := q.db.reads[selectReady].QueryRowContext(ctx, f).Scan(&some); err != nil || some {
			return some, classify(err, "looking for tasks")
		}
	}
	return false, nil
}

// lane is a part of the index of ready tasks within which tasks are alike for a
// claim.
type lane struct {
	function    string
	rank        int64
	owner, lock string
	lockLimit   int
}

// kindOfLock names a lock among what is limited; no function has such a name.
func (l lane) kindOfLock() string { return l.owner + "\x00" + l.lock }

// maxLanes bounds how many lanes of a function one claim serves at a rank.
const maxLanes = 256

// maxFull bounds how many lanes a claim passes over: about 20 ms.
const maxFull = 2000

// claiming is one claim under way. It goes through the ranks (priorities) from
// the top, and at each gives the owners turns.
type claiming struct {
	q           *Tasks
	t           *tx
	c           task.Claim
	now, steady time.Time
	done        *effects
	room        map[string]int // by function, and by lock (kindOfLock): how many more may run
	left        int
	full        int // lanes that were passed over
	claimed     []task.Task
}

func (k *claiming) run() error {
	functions := slices.Compact(slices.Sorted(slices.Values(k.c.Functions)))
	rand.Shuffle(len(functions), func(i, j int) { // none is always first
		functions[i], functions[j] = functions[j], functions[i]
	})
	from := make(map[string]int64, len(functions)) // by function: the rank to look from
	for _, f := range functions {
		from[f] = math.MinInt64
	}
	for k.left > 0 {
		rank, found := int64(math.MaxInt64), false
		heads := make([]lane, 0, len(functions))
		for _, f := range functions {
			head, err := k.first(lane{function: f, rank: from[f]})
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			heads = append(heads, head)
			rank, found = min(rank, head.rank), true
		}
		if !found {
			return nil
		}
		for _, h := range heads {
			if h.rank == rank {
				from[h.function] = rank + 1
			}
		}
		if err := k.level(rank, heads); err != nil {
			return err
		}
	}
	return nil
}

// first is the first lane at or after a place in the index.
func (k *claiming) first(at lane) (lane, error) {
	l := lane{function: at.function}
	err := k.t.row(sqlNextLane, at.function, at.rank, at.owner, at.lock).Scan(&l.rank, &l.owner, &l.lock, &l.lockLimit)
	return l, err
}

// after is the place right behind a lane: no name has a character below a
// blank.
func after(l lane) lane {
	l.lock += "\x00"
	return l
}

// level claims tasks of one rank: in rounds, an equal share for each owner.
func (k *claiming) level(rank int64, heads []lane) error {
	var owners []string
	lanes := make(map[string][]lane)
	for _, h := range heads {
		if h.rank != rank {
			continue
		}
		found, err := k.lanes(h.function, rank)
		if err != nil {
			return err
		}
		for _, l := range found {
			if lanes[l.owner] == nil {
				owners = append(owners, l.owner)
			}
			lanes[l.owner] = append(lanes[l.owner], l)
		}
	}
	for k.left > 0 && len(owners) > 0 {
		share := (k.left + len(owners) - 1) / len(owners)
		more := owners[:0:0]
		for _, o := range owners {
			want := min(share, k.left)
			if want == 0 {
				return nil
			}
			got, err := k.serve(lanes[o], want)
			if err != nil {
				return err
			}
			if got == want {
				more = append(more, o)
			}
		}
		owners = more
	}
	return nil
}

// lanes lists the lanes of a function at a rank: those of the one owner whose
// tasks are asked for, or of all, beginning after the one served last.
func (k *claiming) lanes(function string, rank int64) ([]lane, error) {
	if room, err := k.roomIn(lane{function: function}, 1); err != nil || room == 0 {
		return nil, err
	}
	if own := k.c.Owner; own != "" {
		return k.between(nil, lane{function: function, rank: rank, owner: own}, own+"\x00")
	}
	last := k.q.turn[function]
	found, err := k.between(nil, lane{function: function, rank: rank, owner: last + "\x00"}, "")
	if err != nil || last == "" {
		return found, err
	}
	return k.between(found, lane{function: function, rank: rank}, last+"\x00")
}

// between adds the lanes from a place on whose owners are below end ("" is no
// end), up to maxLanes in all. Lanes whose lock is full are passed over, up to
// maxFull in one claim, as others wait for the writer meanwhile; the next claim
// goes on from there.
func (k *claiming) between(found []lane, at lane, end string) ([]lane, error) {
	rank := at.rank
	if on, ok := k.q.goOn[at.function]; ok && on.rank == rank && on.owner >= at.owner && (end == "" || on.owner < end) {
		at = on
	}
	delete(k.q.goOn, at.function)
	for len(found) < maxLanes {
		if k.full > maxFull {
			k.q.goOn[at.function] = at
			return found, nil
		}
		l, err := k.first(at)
		if errors.Is(err, sql.ErrNoRows) || err == nil && (l.rank != rank || end != "" && l.owner >= end) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		room, err := k.roomIn(l, 1)
		if err != nil {
			return nil, err
		}
		if room > 0 {
			found = append(found, l)
		} else {
			k.full++
		}
		at = after(l)
	}
	return found, nil
}

// serve claims up to want tasks of one owner's lanes, function by function.
func (k *claiming) serve(lanes []lane, want int) (int, error) {
	got := 0
	for len(lanes) > 0 && got < want {
		same := 1
		for same < len(lanes) && lanes[same].function == lanes[0].function {
			same++
		}
		n, err := k.merge(lanes[:same], want-got)
		if err != nil {
			return got, err
		}
		if got += n; n > 0 {
			k.q.turn[lanes[0].function] = lanes[0].owner
		}
		lanes = lanes[same:]
	}
	return got, nil
}

// roomIn tells how many tasks of a lane may start: at most want, and no more
// than the function's concurrency and the lock leave.
func (k *claiming) roomIn(l lane, want int) (int, error) {
	if most := k.q.cfg.Policies.For(l.function).Concurrency; most > 0 {
		left, err := k.remaining(l.function, most, sqlRunningOf, l.function)
		if err != nil {
			return 0, err
		}
		want = min(want, left)
	}
	if l.lock != "" {
		left, err := k.remaining(l.kindOfLock(), l.lockLimit, sqlRunningLock, l.owner, l.lock)
		if err != nil {
			return 0, err
		}
		want = min(want, left)
	}
	return max(want, 0), nil
}

// remaining is how many more of a kind may run, counted once for each claim.
func (k *claiming) remaining(kind string, most, statement int, args ...any) (int, error) {
	if left, ok := k.room[kind]; ok {
		return left, nil
	}
	running := 0
	if err := k.t.row(statement, args...).Scan(&running); err != nil {
		return 0, err
	}
	k.room[kind] = most - running
	return most - running, nil
}

func (k *claiming) use(l lane, n int) {
	for _, kind := range []string{l.function, l.kindOfLock()} {
		if _, ok := k.room[kind]; ok {
			k.room[kind] -= n
		}
	}
}
