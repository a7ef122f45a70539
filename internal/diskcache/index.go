package diskcache

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
)

const (
	blockBytes = 4096
	chunkSlots = 1024
)

// index knows every entry's size and when it was used, in about 100 bytes an
// entry: slots lie in chunks, are linked by their numbers into a ring from the
// most to the least recently used, and are found by 64 bits of their key. Slot
// 0 is the ring's head and ends every chain.
type index struct {
	mu      sync.Mutex
	chunks  []*[chunkSlots]slot
	free    uint32 // first of a list through chain
	byHash  map[uint64]uint32
	max     int64 // budget in blocks
	blocks  int64 // held and reserved
	entries int64
	young   int64 // blocks that early let through
}

type slot struct {
	source     asset.Digest
	variant    asset.VariantKey
	blocks     uint32
	prev, next uint32 // ring; next is less recent
	chain      uint32 // next with the same hash, or next free one
	seen       uint32 // the file's time, Unix seconds
	verified   bool   // its digest was checked, or computed, by this process
	cold       bool   // indexed by the walk and not used since
}

func (x *index) init(maxBytes int64) {
	x.max = maxBytes / blockBytes
	x.byHash = map[uint64]uint32{}
	x.chunks = []*[chunkSlots]slot{{}}
	x.release(1, chunkSlots)
}

// release puts slots from up to (not including) end on the free list.
func (x *index) release(from, end uint32) {
	for i := end - 1; i >= from; i-- {
		x.at(i).chain = x.free
		x.free = i
	}
}

func (x *index) at(i uint32) *slot { return &x.chunks[i/chunkSlots][i%chunkSlots] }

func hash(k cache.Key) uint64 {
	return binary.LittleEndian.Uint64(k.Variant[:]) ^ binary.LittleEndian.Uint64(k.Source[:])
}

func (s *slot) key() cache.Key { return cache.Key{Source: s.source, Variant: s.variant} }

// find gives a key's slot, or 0.
func (x *index) find(k cache.Key) uint32 {
	i := x.byHash[hash(k)]
	for i != 0 && x.at(i).key() != k {
		i = x.at(i).chain
	}
	return i
}

func (x *index) unlink(i uint32) {
	s := x.at(i)
	x.at(s.prev).next, x.at(s.next).prev = s.next, s.prev
}

// linkBefore puts a slot into the ring before another: before head's next it
// is the most recent, before head (0) the least.
func (x *index) linkBefore(i, other uint32) {
	s, o := x.at(i), x.at(other)
	s.prev, s.next = o.prev, other
	x.at(o.prev).next = i
	o.prev = i
}

// insert adds a key that is not there.
func (x *index) insert(k cache.Key, blocks uint32, seen time.Time) *slot {
	if x.free == 0 {
		n := uint32(len(x.chunks)) * chunkSlots
		x.chunks = append(x.chunks, new([chunkSlots]slot))
		x.release(n, n+chunkSlots)
	}
	i := x.free
	s := x.at(i)
	x.free = s.chain
	h := hash(k)
	*s = slot{source: k.Source, variant: k.Variant, blocks: blocks, chain: x.byHash[h], seen: uint32(seen.Unix())}
	x.byHash[h] = i
	x.linkBefore(i, 0)
	x.entries++
	x.blocks += int64(blocks)
	return s
}

// drop removes the slot i.
func (x *index) drop(i uint32) {
	s := x.at(i)
	h := hash(s.key())
	if at := x.byHash[h]; at == i {
		if s.chain == 0 {
			delete(x.byHash, h)
		} else {
			x.byHash[h] = s.chain
		}
	} else {
		for x.at(at).chain != i {
			at = x.at(at).chain
		}
		x.at(at).chain = s.chain
	}
	x.unlink(i)
	x.entries--
	x.blocks -= int64(s.blocks)
	s.chain, x.free = x.free, i
}

// use makes an entry the most recent. stale tells that its file's time should
// be brought up to date.
func (x *index) use(k cache.Key, now time.Time) (found, verified, stale bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.find(k)
	if i == 0 {
		return false, false, false
	}
	s := x.at(i)
	x.unlink(i)
	x.linkBefore(i, x.at(0).next)
	s.cold = false
	if stale = now.Unix()-int64(s.seen) > int64(touchEach/time.Second); stale {
		s.seen = uint32(now.Unix())
	}
	return true, s.verified, stale
}

// early counts a file that comes before the walk has ended, and tells whether
// all of those together are within a twentieth of the budget.
func (x *index) early(blocks uint32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.young+int64(blocks) > x.max/20 {
		return false
	}
	x.young += int64(blocks)
	return true
}

// reserve takes room for a file and tells which entries must go for it. ok is
// false where even that is not enough.
func (x *index) reserve(blocks uint32) (victims []cache.Key, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.blocks += int64(blocks)
	victims = x.shrink()
	if ok = x.blocks <= x.max; !ok {
		x.blocks -= int64(blocks)
	}
	return victims, ok
}

// shrink drops the least recent entries until the budget holds.
func (x *index) shrink() (victims []cache.Key) {
	for x.blocks > x.max && x.entries > 0 {
		last := x.at(0).prev
		victims = append(victims, x.at(last).key())
		x.drop(last)
	}
	return victims
}

// refund gives back what reserve took.
func (x *index) refund(blocks uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.blocks -= int64(blocks)
}

// put makes a reserved file the key's entry, in place of an earlier one.
func (x *index) put(k cache.Key, blocks uint32, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := x.find(k); i != 0 {
		x.drop(i)
	}
	x.blocks -= int64(blocks) // insert counts it again
	s := x.insert(k, blocks, now)
	s.verified = true
	x.warm()
}

// warm makes the slot that was inserted last, at the cold end, the most recent.
func (x *index) warm() {
	i := x.at(0).prev
	x.unlink(i)
	x.linkBefore(i, x.at(0).next)
}

// adopt adds a file that was found on the disk, unless it is there. It counts
// as used a moment ago where it was found by Get, and as old by the walk.
func (x *index) adopt(k cache.Key, blocks uint32, seen time.Time, how adoption) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.find(k) != 0 {
		return
	}
	s := x.insert(k, blocks, seen)
	if s.cold = how == byWalk; !s.cold {
		x.warm()
	}
}

type adoption uint8

const (
	byGet adoption = iota
	byWalk
)

func (x *index) setVerified(k cache.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := x.find(k); i != 0 {
		x.at(i).verified = true
	}
}

func (x *index) has(k cache.Key) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.find(k) != 0
}

func (x *index) remove(k cache.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := x.find(k); i != 0 {
		x.drop(i)
	}
}

func (x *index) size() (entries, bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.entries, x.blocks * blockBytes
}

// settle puts the cold entries, which the walk has added in any order, in the
// order of their files' times, and tells which entries are over the budget.
func (x *index) settle() (victims []cache.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var cold []uint32
	for i := x.at(0).next; i != 0; i = x.at(i).next {
		if x.at(i).cold {
			cold = append(cold, i)
		}
	}
	slices.SortFunc(cold, func(a, b uint32) int { return int(int64(x.at(b).seen) - int64(x.at(a).seen)) })
	for _, i := range cold {
		x.unlink(i)
		x.linkBefore(i, 0)
		x.at(i).cold = false
	}
	return x.shrink()
}
