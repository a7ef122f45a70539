package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/format"

	"safelight/internal/catalog/stored"
)

// RoundTrip stores and reads a header.
func RoundTrip(h format.Header) (format.Header, error) {
	text, err := stored.Header(h)
	if err != nil {
		return h, err
	}
	return stored.ParseHeader([]byte(text))
}

// PrefixRange is prefixRange.
func PrefixRange(prefix string) (first, end string, ok bool) { return prefixRange(prefix) }

// OnlyPrimaries tells whether connections are made only to a server that takes
// changes.
func (c Config) OnlyPrimaries() (bool, error) {
	p, err := c.pool()
	return err == nil && p.ConnConfig.ValidateConnect != nil, err
}

// Classify is classify.
func Classify(err error) error { return classify(err, "testing") }

// Pool gives access to the pool.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Whole are the statements that may read a whole table.
var Whole = map[string]bool{selectPing: true, countPublications: true, beatNode: true}

// WithClock has open make a queue on a node whose clock is off by so much.
func WithClock(off time.Duration, open func()) {
	defer func(before func() time.Time) { nodeClock = before }(nodeClock)
	nodeClock = func() time.Time { return time.Now().Add(off) }
	open()
}

// Plans asks how each statement finds its rows.
func (db *DB) Plans(t *testing.T) map[string][]string {
	t.Helper()
	plans := map[string][]string{}
	pooled, err := db.pool.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Release()
	conn := pooled.Conn()
	if _, err := conn.Exec(context.Background(), `SET plan_cache_mode = force_generic_plan`); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		selectImage, selectByKey, selectSecret, putSecret, listAll, listTag, listPrefix, listPrefixTag,
		selectReleased, selectUnknown, selectUse, countImages, selectPing, forgetBlob, dropReplays,
		commitReplays, commitReplayed, commitKeys, commitVictims, commitLockBlobs, commitUseBlobs, commitPlaceBlobs, commitDeleteImages,
		commitInsertImages, commitInsertTags, commitInsertKeys, commitPutReplays, commitReleaseBlobs, commitWithdraw, commitDropOutputs,
		fenceExclusive, fenceShared, selectRemovals, putRemoval, dropRemoval, lockImage, putRendition, lockRendition, outdateAlternatives, dropAlternatives, putAlternative,
		loadPublication, nameTaken, insertPublication, movePublication, withdrawSome, selectWithdrawn, forgetPublication,
		selectRendition, selectRenditions, selectKept, selectRenditionsWith, selectUnknownRenditions,
		selectAlternativesTo, selectAlternativesOf, selectKeptAlternative, selectAlternativesWith,
		selectPublicationsOf, selectPublished, selectUnknownNames, listPublications, listPublicationsIn, countPublications,
		selectImagesOf, selectImagesAfter, putRecompression, selectRecompression,
		insertTasks, replaceTasks, moveTasks, lockTasks, lockExpired, lockHeldBy, makeDue, clampLeases, pruneTasks,
		forgetFunctions, announceFunction, selectTask, selectReady, selectUpcoming, selectUnknownOutput, selectAnnounced, selectCounts,
		lockInstance, tryInstance, lockNode, forgetNode, insertNode, beatNode, selectMembers,
		runningOf, runningLocks, claimLanes, claimTasks, claimIDs, selectWaiting,
	} {
		described, err := conn.Prepare(context.Background(), fmt.Sprint("plan", len(plans)), text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		args := ""
		if n := len(described.ParamOIDs); n > 0 {
			args = "(NULL" + strings.Repeat(", NULL", n-1) + ")"
		}
		lines, err := conn.Query(context.Background(), `EXPLAIN EXECUTE `+pgx.Identifier{described.Name}.Sanitize()+args, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if plans[text], err = pgx.CollectRows(lines, pgx.RowTo[string]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return plans
}

// ClaimPages is how many pages each statement of a claim reads.
func (db *DB) ClaimPages(t *testing.T, function, owner string) map[string]int {
	t.Helper()
	lane := []any{[]string{function}, []int32{0}, []string{owner}, []string{""}, [][]byte{{}}, []int32{10}}
	pages := map[string]int{}
	for name, s := range map[string]struct {
		text string
		args []any
	}{
		"selectReady":   {selectReady, []any{[]string{function}}},
		"runningOf":     {runningOf, []any{[]string{function}}},
		"claimLanes":    {claimLanes, []any{[]string{function}, []int32{-5000}, []string{""}, []string{""}, []string{lastPlace.owner}, []string{""}, maxLanes, maxFull}},
		"claimIDs":      {claimIDs, lane},
		"claimTasks":    {claimTasks, lane},
		"selectWaiting": {selectWaiting, []any{wakeMost}},
		"upcoming":      {selectUpcoming, nil},
	} {
		var plan []byte
		if err := db.pool.QueryRow(context.Background(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+s.text, s.args...).Scan(&plan); err != nil {
			t.Fatal(err)
		}
		var read []struct {
			Plan struct {
				Hit  int `json:"Shared Hit Blocks"`
				Read int `json:"Shared Read Blocks"`
			}
		}
		if err := json.Unmarshal(plan, &read); err != nil {
			t.Fatal(err)
		}
		pages[name] = read[0].Plan.Hit + read[0].Plan.Read
	}
	return pages
}

// Break cuts the connection, as the end of the process would.
func (s *Nodes) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.PgConn().Conn().Close()
}
