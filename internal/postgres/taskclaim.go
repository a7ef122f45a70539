package postgres

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"safelight/internal/task"
)

// Claim implements task.Queue.
func (q *Tasks) Claim(ctx context.Context, c task.Claim) ([]task.Task, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	some, err := one(ctx, q.db, value[bool], "looking for tasks", selectReady, c.Functions)
	if err != nil || !some || !storable(c.Owner) {
		return nil, err
	}
	var claimed []task.Task
	err = q.change(ctx, "claiming tasks", func(u *unit) error {
		k := &claiming{unit: u, c: c, left: c.Max, rooms: make(map[string]int), locks: make(map[lockName]int)}
		err := k.run()
		claimed = k.claimed
		return err
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// lane is a part of the index of ready tasks within which tasks are alike for a
// claim.
type lane struct {
	function    string
	rank        int
	owner, lock string
	lockLimit   int
	last        []byte // the id of the last task that was taken of it
	most        int    // how many tasks are to be taken next
	empty       bool   // nothing is left
}

// lockName names a counted lock.
type lockName struct{ owner, lock string }

func (l *lane) locked() lockName { return lockName{l.owner, l.lock} }

// place is one in the order of lanes of a rank: by owner, then by lock.
type place struct{ owner, lock string }

// behind is the place right behind a lane, or behind all of an owner: names
// have no control characters.
func (l *lane) behind() place      { return place{l.owner, l.lock + "\x01"} }
func behindOwner(own string) place { return place{own + "\x01", ""} }

// lastPlace is behind every other.
var lastPlace = place{"\U0010ffff", ""}

// turns remembers for each function whose turn is next on this node.
type turns struct {
	mu     sync.Mutex
	served map[string]string // the owner that was served last
	goOn   map[string]place  // where a claim had to stop among full lanes
}

func newTurns() turns { return turns{served: make(map[string]string), goOn: make(map[string]place)} }

// next is where the lanes of a function begin.
func (t *turns) next(function string) place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if on, ok := t.goOn[function]; ok {
		delete(t.goOn, function)
		return on
	}
	if last := t.served[function]; last != "" {
		return behindOwner(last)
	}
	return place{}
}

func (t *turns) serve(function, owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.served[function] = owner
}

func (t *turns) stop(function string, at place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goOn[function] = at
}

// Bounds of one claim: lanes of a function at a rank that it serves, and full
// ones that it passes over.
const (
	maxLanes = 256
	maxFull  = 2000
)

// claiming is one claim under way. It goes through the ranks (priorities) from
// the top, and at each gives the owners turns.
type claiming struct {
	*unit
	c       task.Claim
	rooms   map[string]int   // by function with a limit: how many more may run
	locks   map[lockName]int // by lock: how many more may run
	counted bool             // the lock for counted locks is held
	left    int
	size    int // bytes of what is claimed
	claimed []task.Task
}

func (k *claiming) run() error {
	functions := slices.Compact(slices.Sorted(slices.Values(k.c.Functions)))
	b := k.t.batch()
	k.countFunctions(b, functions)
	rand.Shuffle(len(functions), func(i, j int) { // none is always first
		functions[i], functions[j] = functions[j], functions[i]
	})
	from := make(map[string]int, len(functions)) // the rank to look from
	for _, f := range functions {
		from[f] = math.MinInt32
	}
	known := make(map[string][]*lane) // of functions whose turn has not come
	for k.left > 0 && len(functions) > 0 {
		if err := k.lanes(b, functions, from, known); err != nil {
			return err
		}
		b = k.t.batch()
		functions = slices.DeleteFunc(functions, func(f string) bool {
			room, limited := k.rooms[f]
			return from[f] == none || limited && room <= 0
		})
		rank := none
		for _, f := range functions {
			rank = min(rank, from[f])
		}
		var level []*lane
		for _, f := range functions {
			if from[f] == rank {
				level = append(level, known[f]...)
				delete(known, f)
				from[f] = rank + 1
			}
		}
		if err := k.level(level); err != nil {
			return err
		}
	}
	return k.finish()
}

// none is the rank of a function that has no task left.
const none = math.MaxInt32

// countFunctions adds to a batch the locking and counting of functions that have
// a limit; they are in order.
func (k *claiming) countFunctions(b *pgx.Batch, functions []string) {
	var limited []string
	for _, f := range functions {
		if k.q.cfg.Policies.For(f).Concurrency > 0 {
			b.Queue(lockFunction, f)
			limited = append(limited, f)
		}
	}
	if len(limited) == 0 {
		return
	}
	b.Queue(runningOf, limited).Query(func(rows pgx.Rows) error {
		var function string
		var running int
		_, err := pgx.ForEachRow(rows, []any{&function, &running}, func() error {
			k.rooms[function] = k.q.cfg.Policies.For(function).Concurrency - running
			return nil
		})
		return err
	})
}

// lanes carries out a batch, and finds the lanes of functions that are not known
// yet, at the first rank from which there are tasks; from becomes that rank, or
// none.
func (k *claiming) lanes(b *pgx.Batch, functions []string, from map[string]int, known map[string][]*lane) error {
	var names, fromOwners, fromLocks, endOwners, endLocks []string
	var least []int32
	var asked []string
	for _, f := range functions {
		if _, ok := known[f]; ok {
			continue
		}
		asked = append(asked, f)
		start := k.q.turns.next(f)
		spans := [][2]place{{start, lastPlace}, {place{}, start}}
		if own := k.c.Owner; own != "" {
			spans = [][2]place{{place{own, ""}, behindOwner(own)}}
		}
		for _, s := range spans {
			names, least = append(names, f), append(least, int32(from[f]))
			fromOwners, fromLocks = append(fromOwners, s[0].owner), append(fromLocks, s[0].lock)
			endOwners, endLocks = append(endOwners, s[1].owner), append(endLocks, s[1].lock)
		}
	}
	for _, f := range asked {
		known[f], from[f] = nil, none
	}
	b.Queue(claimLanes, names, least, fromOwners, fromLocks, endOwners, endLocks, maxLanes, maxFull).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			l := &lane{last: []byte{}}
			var owner, lock *string
			var limit, room *int
			if err := rows.Scan(&l.function, &l.rank, &owner, &lock, &limit, &room); err != nil {
				return err
			}
			from[l.function] = l.rank
			if owner == nil {
				continue
			}
			l.owner, l.lock, l.lockLimit = *owner, *lock, *limit
			if *room > 0 {
				known[l.function] = append(known[l.function], l)
			} else {
				k.q.turns.stop(l.function, l.behind())
			}
		}
		return rows.Err()
	})
	return k.t.send(b)
}

// level claims tasks of lanes of one rank: in rounds, an equal share for each
// owner.
func (k *claiming) level(lanes []*lane) error {
	if err := k.count(lanes); err != nil {
		return err
	}
	var owners []string
	of := make(map[string][]*lane)
	for _, l := range lanes {
		if of[l.owner] == nil {
			owners = append(owners, l.owner)
		}
		of[l.owner] = append(of[l.owner], l)
	}
	for k.left > 0 && len(owners) > 0 {
		share := (k.left + len(owners) - 1) / len(owners)
		more, err := k.round(owners, of, share)
		if err != nil {
			return err
		}
		owners = more
	}
	return nil
}

// count takes the lock for counted locks when it is needed for the first time,
// and counts again who holds those of the lanes.
func (k *claiming) count(lanes []*lane) error {
	var locked []*lane
	var owners, names []string
	for _, l := range lanes {
		if l.lock != "" {
			locked = append(locked, l)
			owners, names = append(owners, l.owner), append(names, l.lock)
		}
	}
	if len(locked) == 0 {
		return nil
	}
	b := k.t.batch()
	if !k.counted {
		b.Queue(lockCounted, countedLock)
		k.counted = true
	}
	b.Queue(runningLocks, owners, names).Query(func(rows pgx.Rows) error {
		running, err := gather(rows, value[int])
		for i, n := range running {
			if _, known := k.locks[locked[i].locked()]; !known {
				k.locks[locked[i].locked()] = locked[i].lockLimit - n
			}
		}
		return err
	})
	return k.t.send(b)
}
