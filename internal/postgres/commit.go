package postgres

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Commit implements catalog.Catalog. Whatever it changes, it is two round trips:
// one to read and lock, one to write and commit.
func (db *DB) Commit(ctx context.Context, change catalog.Change) ([]catalog.Result, error) {
	if len(change.Deletes)+len(change.Images) == 0 {
		return nil, nil
	}
	rows := make([]row, len(change.Images))
	for i := range change.Images {
		n := &change.Images[i]
		if len(n.Keys) == 0 {
			return nil, fault.New(fault.Internal, "a new image has no key")
		}
		var err error
		if rows[i], err = imageRow(n.Image); err != nil {
			return nil, err
		}
	}
	var results []catalog.Result
	var done *effects
	err := db.transact(ctx, "storing images", func(t *tx) (err error) {
		c := db.committing(t, &change, rows)
		if err := c.read(); err != nil {
			return err
		}
		if results, err = c.follow(); err != nil {
			return err
		}
		b := t.batch()
		if err := c.write(b); err != nil {
			return err
		}
		if c.unit != nil {
			done = &c.unit.done
		}
		return t.finish(b)
	})
	if err != nil {
		return nil, idTaken(err)
	}
	if done != nil {
		db.tasks.tell(done)
	}
	return results, nil
}

// committing is a change under way. It reads what the change depends on, follows
// the port's rules on that in memory, one operation after the other, and writes
// the difference.
type committing struct {
	db     *DB
	t      *tx
	unit   *unit // nil where no queue is open
	change *catalog.Change
	rows   []row // of change.Images

	images  map[asset.ID]asset.Image // that are there, or are to be stored
	locked  map[asset.ID]asset.Image // that nobody else can delete
	keys    map[keyName]asset.ID     // that are taken
	replays map[replayName]replay

	order   []asset.ID       // new images that stay
	fresh   map[asset.ID]int // new images, by their index in change.Images
	dropped []asset.Image    // images that go, new ones too
	tokens  []int            // indexes of images whose tokens are to be stored
}

type keyName struct{ owner, key string }

type replayName struct {
	owner, token string
	ordinal      int
}

// replay is what a token has stored.
type replay struct {
	image  asset.ID
	digest asset.Digest
}

func (db *DB) committing(t *tx, change *catalog.Change, rows []row) *committing {
	c := &committing{
		db: db, t: t, change: change, rows: rows, images: make(map[asset.ID]asset.Image), keys: make(map[keyName]asset.ID),
		replays: make(map[replayName]replay), fresh: make(map[asset.ID]int),
	}
	if db.tasks != nil {
		c.unit = db.tasks.unit(t)
	}
	return c
}

// follow carries out the change in memory.
func (c *committing) follow() ([]catalog.Result, error) {
	for i := range c.change.Deletes {
		d := &c.change.Deletes[i]
		img, there := c.images[d.ID]
		if !there || img.Owner != d.Owner {
			return nil, noImage(d.ID)
		}
		c.drop(img)
		if _, err := c.submitAbout(asset.Image{ID: d.ID, Owner: d.Owner}, d.Tasks); err != nil {
			return nil, err
		}
	}
	results := make([]catalog.Result, len(c.change.Images))
	for i := range c.change.Images {
		var err error
		if results[i], err = c.store(i); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// store stores a new image with its tasks, or finds the one that an earlier
// request with the same token has stored.
func (c *committing) store(i int) (catalog.Result, error) {
	n := &c.change.Images[i]
	img := stored.Image(n.Image)
	token := replayName{img.Owner, n.Replay.Token, n.Replay.Ordinal}
	if earlier, spent := c.replays[token]; spent && token.token != "" {
		return c.replayed(n, earlier)
	}
	if _, twice := c.fresh[img.ID]; twice {
		return catalog.Result{}, sameID()
	}
	key, replaced, err := c.takeKey(n)
	if err != nil {
		return catalog.Result{}, err
	}
	img.Key = key
	c.images[img.ID], c.keys[keyName{img.Owner, key}] = img, img.ID
	c.fresh[img.ID] = i
	c.order = append(c.order, img.ID)
	if token.token != "" {
		c.replays[token] = replay{img.ID, img.Source.Digest}
		c.tokens = append(c.tokens, i)
	}
	res := catalog.Result{Image: img, Replaced: replaced}
	if replaced.ID != (asset.ID{}) {
		if _, err := c.submitAbout(replaced, n.Farewell); err != nil {
			return catalog.Result{}, err
		}
	}
	res.Tasks, err = c.submitAbout(n.Image, n.Tasks)
	return res, err
}

func sameID() error {
	return fault.New(fault.Conflict, "there is an image with this id already")
}

// replayed is the image that the same file of the same request has made before.
// A token whose image is gone stays spent: to carry the request out again would
// undo what came after it.
func (c *committing) replayed(n *catalog.NewImage, earlier replay) (catalog.Result, error) {
	if earlier.digest != n.Image.Source.Digest {
		return catalog.Result{}, &fault.Error{Kind: fault.Unprocessable, Code: "idempotency-key-reused",
			Message: "this Idempotency-Key was used for different content"}
	}
	img, there := c.images[earlier.image]
	if !there || img.Owner != n.Image.Owner {
		return catalog.Result{}, &fault.Error{Kind: fault.Conflict, Code: "idempotency-key-spent",
			Message: "what this Idempotency-Key stored has been deleted or replaced since; use a new key to store it again"}
	}
	return catalog.Result{Image: img, Replayed: true}, nil
}

// takeKey finds the key for a new image by the rule. It returns the key and the
// image that lost it.
func (c *committing) takeKey(n *catalog.NewImage) (key string, replaced asset.Image, err error) {
	own := n.Image.Owner
	if n.Rule == catalog.Replace {
		if id, taken := c.keys[keyName{own, n.Keys[0]}]; taken {
			replaced = c.images[id]
			c.drop(replaced)
		}
		return n.Keys[0], replaced, nil
	}
	candidates := n.Keys
	if n.Rule == catalog.Refuse {
		candidates = n.Keys[:1]
	}
	for _, key := range candidates {
		if _, taken := c.keys[keyName{own, key}]; !taken {
			return key, asset.Image{}, nil
		}
	}
	if n.Rule == catalog.Refuse {
		return "", asset.Image{}, fault.New(fault.Precondition, "there is an image under the key %q already", n.Keys[0])
	}
	return "", asset.Image{}, fault.New(fault.Conflict, "every key for the image %q is taken", n.Image.Name)
}

// drop removes an image.
func (c *committing) drop(img asset.Image) {
	c.dropped = append(c.dropped, img)
	delete(c.images, img.ID)
	if name := (keyName{img.Owner, img.Key}); c.keys[name] == img.ID {
		delete(c.keys, name)
	}
}

// submitAbout submits tasks about an image in the image's own transaction.
func (c *committing) submitAbout(img asset.Image, tasks []task.New) ([]task.Task, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	if c.unit == nil {
		return nil, fault.New(fault.Internal, "tasks were to be stored, but no queue is open")
	}
	stored := make([]task.Task, len(tasks))
	for i, n := range tasks {
		n.Owner, n.Image = img.Owner, img.ID
		if err := n.Check(c.unit.now); err != nil {
			return nil, err
		}
		stored[i] = c.unit.submit(n)
	}
	return stored, nil
}
