package postgres

import (
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// read reads what the change depends on, and locks what it may delete or change.
func (c *committing) read() error {
	b := c.t.batch()
	if c.unit != nil {
		c.unit.lock(b, nil, c.taskNames())
	}
	victims := make([][]byte, len(c.change.Deletes))
	for i := range c.change.Deletes {
		victims[i] = c.change.Deletes[i].ID[:]
	}
	var digests [][]byte
	for i := range c.change.Images {
		digests = append(digests, c.change.Images[i].Image.Source.Digest[:])
	}
	checkRemovals(b, digests)
	var (
		owners, keys, goneOwners, goneKeys, tokenOwners []string
		tokens                                          [][]byte
		ordinals                                        []int64
	)
	for i := range c.change.Images {
		n := &c.change.Images[i]
		for _, key := range n.Keys {
			owners, keys = append(owners, n.Image.Owner), append(keys, key)
		}
		if n.Rule == catalog.Replace {
			goneOwners, goneKeys = append(goneOwners, n.Image.Owner), append(goneKeys, n.Keys[0])
		}
		if n.Replay.Token != "" {
			tokenOwners, tokens = append(tokenOwners, n.Image.Owner), append(tokens, []byte(n.Replay.Token))
			ordinals = append(ordinals, int64(n.Replay.Ordinal))
		}
	}
	if len(victims)+len(goneKeys) > 0 {
		b.Queue(commitVictims, victims, goneOwners, goneKeys).Query(c.loadVictims)
	}
	if len(tokens) > 0 {
		// The images after the tokens: one that comes in between is not taken
		// for gone.
		b.Queue(commitReplays, tokenOwners, tokens, ordinals).Query(c.loadReplays)
		b.Queue(commitReplayed, tokenOwners, tokens, ordinals).Query(c.loadImages)
	}
	if len(keys) > 0 {
		b.Queue(commitKeys, owners, keys).Query(c.loadKeys)
	}
	if err := c.t.send(b); err != nil {
		return err
	}
	return c.checkVictims()
}

// errMoved tells that a key was moved while it was read.
var errMoved = &pgconn.PgError{Code: "40001", Message: "a key was moved meanwhile"}

// checkVictims finds out whether a key that is to be replaced points at an image
// that was not locked, as it came after.
func (c *committing) checkVictims() error {
	for i := range c.change.Images {
		n := &c.change.Images[i]
		if n.Rule != catalog.Replace {
			continue
		}
		name := keyName{n.Image.Owner, n.Keys[0]}
		if id, taken := c.keys[name]; taken {
			if _, locked := c.locked[id]; !locked {
				return errMoved
			}
		}
	}
	return nil
}

// taskNames are the names of all tasks that the change submits.
func (c *committing) taskNames() []taskName {
	var names []taskName
	for i := range c.change.Deletes {
		d := &c.change.Deletes[i]
		for _, n := range d.Tasks {
			names = append(names, taskName{d.Owner, n.Function, n.Name})
		}
	}
	for i := range c.change.Images {
		n := &c.change.Images[i]
		for _, k := range n.Tasks {
			names = append(names, taskName{n.Image.Owner, k.Function, k.Name})
		}
		for _, k := range n.Farewell {
			names = append(names, taskName{n.Image.Owner, k.Function, k.Name})
		}
	}
	return names
}

func (c *committing) loadVictims(rows pgx.Rows) error {
	err := c.loadImages(rows)
	c.locked = maps.Clone(c.images)
	return err
}

func (c *committing) loadImages(rows pgx.Rows) error {
	list, err := gather(rows, scanImage)
	for _, img := range list {
		c.images[img.ID] = img
	}
	return err
}

func (c *committing) loadKeys(rows pgx.Rows) error {
	var owner, key string
	var id []byte
	_, err := pgx.ForEachRow(rows, []any{&owner, &key, &id}, func() error {
		var image asset.ID
		copy(image[:], id)
		c.keys[keyName{owner, key}] = image
		return nil
	})
	return err
}

func (c *committing) loadReplays(rows pgx.Rows) error {
	var owner string
	var token, image, digest []byte
	var ordinal int
	_, err := pgx.ForEachRow(rows, []any{&owner, &token, &ordinal, &image, &digest}, func() error {
		var r replay
		copy(r.image[:], image)
		copy(r.digest[:], digest)
		c.replays[replayName{owner, string(token), ordinal}] = r
		return nil
	})
	return err
}

// write adds to a batch what the change has made, in an order that all
// transactions have in common.
func (c *committing) write(b *pgx.Batch) error {
	now := time.Now().UnixMilli()
	var gone [][]byte // images that were stored before
	var freed []asset.Digest
	dropped := make([][]byte, len(c.dropped))
	for i := range c.dropped {
		img := &c.dropped[i]
		dropped[i] = img.ID[:]
		freed = append(freed, img.Source.Digest)
		if _, fresh := c.fresh[img.ID]; !fresh {
			gone = append(gone, img.ID[:])
		}
	}
	c.writeBlobs(b, freed, now)
	if len(gone) > 0 {
		b.Queue(commitDeleteImages, gone)
	}
	c.writeImages(b)
	c.writeReplays(b, now)
	if len(dropped) > 0 {
		b.Queue(commitReleaseBlobs, digestBytes(freed), now)
		b.Queue(commitWithdraw, dropped, now)
		b.Queue(commitDropOutputs, dropped)
	}
	if len(gone) > 0 {
		b.Queue(`SELECT pg_notify($1, $2)`, movesChannel, c.db.encodeMoves(c.dropped))
	}
	if c.unit == nil {
		return nil
	}
	return c.unit.write(b)
}

// writeBlobs locks the sources that are touched, and stores those that new
// images have.
func (c *committing) writeBlobs(b *pgx.Batch, freed []asset.Digest, now int64) {
	seen := make(map[asset.Digest]bool)
	var digests [][]byte
	var sizes []int64
	var formats, headers []string
	for i := range c.change.Images {
		src := &c.change.Images[i].Image.Source
		if id := c.change.Images[i].Image.ID; seen[src.Digest] || !c.isFresh(id, i) {
			continue
		}
		seen[src.Digest] = true
		digests, sizes = append(digests, src.Digest[:]), append(sizes, src.Bytes)
		formats, headers = append(formats, src.Header.Format.String()), append(headers, c.rows[i].header)
	}
	touched := append(digestBytes(freed), digests...)
	if len(touched) > 0 {
		b.Queue(commitLockBlobs, touched)
	}
	if len(digests) > 0 {
		b.Queue(commitUseBlobs, digests, sizes, formats, headers, now)
		b.Queue(commitPlaceBlobs, digests, now)
	}
}

// isFresh tells whether the image at an index was stored, and not found by its
// token.
func (c *committing) isFresh(id asset.ID, i int) bool {
	at, fresh := c.fresh[id]
	return fresh && at == i
}

// writeImages stores new images with their tags and keys.
func (c *committing) writeImages(b *pgx.Batch) {
	var (
		ids, digests, hashes, tagged           [][]byte
		owners, names, categories, blurs, keys []string
		lists                                  []*string
		created, phashes                       []int64
		verified                               []bool
		tagOwners, tags                        []string
	)
	for _, id := range c.order {
		img, stays := c.images[id]
		if !stays {
			continue
		}
		r := &c.rows[c.fresh[id]]
		ids, digests, hashes = append(ids, id[:]), append(digests, img.Source.Digest[:]), append(hashes, r.thumbHash)
		owners, names, categories = append(owners, img.Owner), append(names, img.Name), append(categories, img.Category)
		blurs, keys, lists = append(blurs, img.Looks.BlurHash), append(keys, img.Key), append(lists, r.tags)
		created, phashes = append(created, img.Created.UnixMilli()), append(phashes, int64(img.Looks.PHash))
		verified = append(verified, img.Looks.Verified)
		for _, tag := range img.Tags {
			tagOwners, tags, tagged = append(tagOwners, img.Owner), append(tags, tag), append(tagged, id[:])
		}
	}
	if len(ids) == 0 {
		return
	}
	b.Queue(commitInsertImages, ids, owners, digests, names, categories, lists, created, verified, hashes, blurs, phashes)
	b.Queue(commitInsertKeys, owners, keys, ids)
	if len(tags) > 0 {
		b.Queue(commitInsertTags, tagOwners, tags, tagged)
	}
}

func (c *committing) writeReplays(b *pgx.Batch, now int64) {
	if len(c.tokens) == 0 {
		return
	}
	var owners []string
	var tokens, ids, digests [][]byte
	var ordinals []int64
	for _, i := range c.tokens {
		n := &c.change.Images[i]
		owners, tokens = append(owners, n.Image.Owner), append(tokens, []byte(n.Replay.Token))
		ordinals = append(ordinals, int64(n.Replay.Ordinal))
		ids, digests = append(ids, n.Image.ID[:]), append(digests, n.Image.Source.Digest[:])
	}
	b.Queue(commitPutReplays, owners, tokens, ordinals, ids, digests, now)
}

// idTaken is an error of a commit, in our words where an id is taken.
func idTaken(err error) error {
	var failed *pgconn.PgError
	if errors.As(err, &failed) && failed.Code == "23505" && failed.ConstraintName == imagesPrimary {
		return fault.Wrap(fault.Conflict, err, "%s", sameID())
	}
	return err
}
