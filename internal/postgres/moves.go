package postgres

import (
	"encoding/json"

	"safelight/internal/asset"
	"safelight/internal/purge"
)

// movesChannel is where nodes tell each other of images that were deleted or
// lost their key. This is told within the transaction: an answer that was
// prepared from what is gone must not outlive it. Those transactions commit one
// after the other, as PostgreSQL has it.
const movesChannel = "safelight_moves"

// Moves are told what other nodes have done to names. The calls come from one
// goroutine, once Tasks was called.
type Moves struct {
	// Moved tells which keys and ids do not stand for what they did, and whose
	// sources may not be in use any more.
	Moved func(purge.News)
	// Lost tells that this may have happened to any.
	Lost func()
}

// OnMoves sets who is told.
func (db *DB) OnMoves(m Moves) { db.moves.Store(&m) }

// lost calls Lost where somebody listens.
func (m *Moves) lost() {
	if m != nil {
		m.Lost()
	}
}

// movesNotice is what a notification says; without names it is any.
type movesNotice struct {
	Node    string      `json:"node"`
	Names   [][2]string `json:"names,omitempty"`   // owner and name
	Sources [][]byte    `json:"sources,omitempty"` // digests
}

func (db *DB) encodeMoves(images []asset.Image) string {
	n := movesNotice{Node: db.node}
	size := 0
	for i := range images {
		img := &images[i]
		n.Names = append(n.Names, [2]string{img.Owner, img.ID.String()}, [2]string{img.Owner, img.Key})
		n.Sources = append(n.Sources, img.Source.Digest[:])
		if size += 2*len(img.Owner) + len(img.Key) + len(img.Source.Digest); size > maxPayload {
			break
		}
	}
	text, err := json.Marshal(n)
	if err != nil || len(text) > maxPayload {
		text, _ = json.Marshal(movesNotice{Node: db.node})
	}
	return string(text)
}

// passMoves tells this process what another node has told.
func (db *DB) passMoves(payload string) {
	var n movesNotice
	m := db.moves.Load()
	if err := json.Unmarshal([]byte(payload), &n); err != nil || n.Node == db.node || m == nil {
		return
	}
	if len(n.Names) == 0 {
		m.Lost()
		return
	}
	var news purge.News
	for _, name := range n.Names {
		news.Names = append(news.Names, purge.Name{Owner: name[0], Name: name[1]})
	}
	for _, raw := range n.Sources {
		if len(raw) == len(asset.Digest{}) {
			news.Sources = append(news.Sources, asset.Digest(raw))
		}
	}
	m.Moved(news)
}
