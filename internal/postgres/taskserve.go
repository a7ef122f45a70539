package postgres

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"

	"github.com/jackc/pgx/v5"

	"safelight/internal/task"
)

// round claims up to share tasks of each owner's lanes, function by function, in
// the order of their ids, and gives the owners that may have more.
func (k *claiming) round(owners []string, of map[string][]*lane, share int) ([]string, error) {
	heads, err := k.heads(owners, of, share)
	if err != nil {
		return nil, err
	}
	budget := k.left
	wanted := make(map[string]int)
	var picked []*lane
	var more []string
	for _, o := range owners {
		want := min(share, budget)
		if want == 0 { // its turn comes if others got less
			more = append(more, o)
			continue
		}
		for lanes := of[o]; len(lanes) > 0 && want > wanted[o]; {
			same := sameFunction(lanes)
			wanted[o] += k.reserve(lanes[:same], heads, want-wanted[o])
			for _, l := range lanes[:same] {
				if l.most > 0 {
					picked = append(picked, l)
				}
			}
			lanes = lanes[same:]
		}
		budget -= wanted[o]
	}
	if err := k.take(picked); err != nil {
		return nil, err
	}
	for _, o := range owners {
		of[o] = slices.DeleteFunc(of[o], func(l *lane) bool { return l.empty || k.roomIn(l) == 0 })
		if len(of[o]) > 0 && !slices.Contains(more, o) {
			more = append(more, o)
		}
	}
	return more, nil
}

// sameFunction is how many lanes at the beginning are of one function.
func sameFunction(lanes []*lane) int {
	n := 1
	for n < len(lanes) && lanes[n].function == lanes[0].function {
		n++
	}
	return n
}

// heads lists the first tasks of lanes whose room must not be reserved in vain,
// as lanes in the order of the tasks' ids: those of owners that have several
// of one function, which come in the order of all, and those with locks, which
// other functions' tasks could have instead.
func (k *claiming) heads(owners []string, of map[string][]*lane, share int) ([]*lane, error) {
	var several []*lane
	for _, o := range owners {
		for lanes := of[o]; len(lanes) > 0; {
			same := sameFunction(lanes)
			if counted(lanes[:same]) {
				several = append(several, lanes[:same]...)
			}
			lanes = lanes[same:]
		}
	}
	if len(several) == 0 {
		return nil, nil
	}
	for _, l := range several {
		l.most = min(share, k.roomIn(l))
	}
	var heads []*lane
	b := k.t.batch()
	b.Queue(claimIDs, laneArrays(several)...).Query(func(rows pgx.Rows) error {
		var n int
		var id []byte
		for _, l := range several {
			l.empty = l.most > 0
		}
		_, err := pgx.ForEachRow(rows, []any{&n, &id}, func() error {
			heads = append(heads, several[n-1])
			several[n-1].empty = false
			return nil
		})
		return err
	})
	return heads, k.t.send(b)
}

// counted tells lanes of one function and owner for which heads are needed.
func counted(lanes []*lane) bool { return len(lanes) > 1 || lanes[0].lock != "" }

// reserve sets how many tasks of lanes of one function and owner to take, up to
// want in all, and takes their room. It tells how many.
func (k *claiming) reserve(lanes, heads []*lane, want int) int {
	for _, l := range lanes {
		l.most = 0
	}
	if !counted(lanes) { // the usual case
		n := min(want, k.roomIn(lanes[0]))
		k.use(lanes[0], n)
		return n
	}
	got := 0
	for _, l := range heads {
		if got < want && k.roomIn(l) > 0 && slices.Contains(lanes, l) {
			k.use(l, 1)
			got++
		}
	}
	return got
}

// roomIn is how many more tasks of a lane may run.
func (k *claiming) roomIn(l *lane) int {
	room := task.MaxBatch
	if left, limited := k.rooms[l.function]; limited {
		room = min(room, left)
	}
	if l.lock != "" {
		room = min(room, k.locks[l.locked()])
	}
	return max(room, 0)
}

// use takes room for n tasks of a lane, or gives it back where n is negative.
func (k *claiming) use(l *lane, n int) {
	l.most += n
	if _, limited := k.rooms[l.function]; limited {
		k.rooms[l.function] -= n
	}
	if l.lock != "" {
		k.locks[l.locked()] -= n
	}
}

// laneArrays are lanes as the parameters of a statement.
func laneArrays(lanes []*lane) []any {
	var functions, owners, locks []string
	var ranks, most []int32
	var last [][]byte
	for _, l := range lanes {
		functions, owners, locks = append(functions, l.function), append(owners, l.owner), append(locks, l.lock)
		ranks, most, last = append(ranks, int32(l.rank)), append(most, int32(l.most)), append(last, l.last)
	}
	return []any{functions, ranks, owners, locks, last, most}
}

// take claims as many tasks of lanes as were reserved, gives back the room of
// those that are not there.
func (k *claiming) take(lanes []*lane) error {
	if len(lanes) == 0 {
		return nil
	}
	taken := make([][]*entry, len(lanes))
	b := k.t.batch()
	b.Queue(claimTasks, laneArrays(lanes)...).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for k.size <= pageBytes && rows.Next() {
			var n int
			found, err := scanTask(behindFirst{rows, &n})
			if err != nil {
				return err
			}
			k.size += len(found.Args) + len(found.Result) + len(found.Error)
			taken[n-1] = append(taken[n-1], &entry{Task: found})
		}
		return rows.Err()
	})
	if err := k.t.send(b); err != nil {
		return err
	}
	for i := 0; i < len(lanes); {
		same := i
		var group []*entry
		for ; same < len(lanes) && lanes[same].function == lanes[i].function && lanes[same].owner == lanes[i].owner; same++ {
			l := lanes[same]
			l.empty = len(taken[same]) < l.most
			k.use(l, len(taken[same])-l.most)
			if n := len(taken[same]); n > 0 {
				id := taken[same][n-1].ID
				l.last = id[:]
			}
			group = append(group, taken[same]...)
		}
		slices.SortFunc(group, func(a, b *entry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		if len(group) > 0 {
			k.start(group)
		}
		i = same
	}
	if k.size > pageBytes {
		k.left = 0
	}
	return nil
}

// behindFirst scans the columns behind the first one, which is a number.
type behindFirst struct {
	scanner
	first *int
}

// Scan implements scanner.
func (s behindFirst) Scan(into ...any) error {
	return s.scanner.Scan(append([]any{s.first}, into...)...)
}

// start hands out tasks of one function and owner.
func (k *claiming) start(group []*entry) {
	function := group[0].Function
	policy := k.q.cfg.Policies.For(function)
	for _, e := range group {
		e.Claimed(k.c, newToken(), policy, k.now, k.steady)
		k.add(e)
		k.store(e, moved)
		k.claimed = append(k.claimed, e.Task)
	}
	k.left -= len(group)
	k.q.turns.serve(function, group[0].Owner)
}

// newToken is 128 random bits.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
