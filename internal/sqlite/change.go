package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Commit implements catalog.Catalog.
func (db *DB) Commit(ctx context.Context, change catalog.Change) ([]catalog.Result, error) {
	if len(change.Deletes)+len(change.Images) == 0 {
		return nil, nil
	}
	var done effects
	operations := make([]operation, 0, 1+len(change.Deletes)+len(change.Images))
	operations = append(operations, func(*tx) error { done = effects{}; return nil })
	for _, d := range change.Deletes {
		operations = append(operations, func(t *tx) error {
			if err := t.deleteImage(d.Owner, d.ID); err != nil {
				return err
			}
			_, err := db.submitAbout(t, asset.Image{ID: d.ID, Owner: d.Owner}, d.Tasks, &done)
			return err
		})
	}
	results := make([]catalog.Result, len(change.Images))
	for i := range change.Images {
		n := &change.Images[i]
		if len(n.Keys) == 0 {
			return nil, fault.New(fault.Internal, "a new image has no key")
		}
		row, err := imageRow(n.Image)
		if err != nil {
			return nil, err
		}
		operations = append(operations, func(t *tx) (err error) {
			if results[i], err = t.storeImage(n, row); err != nil || results[i].Replayed {
				return err
			}
			if lost := results[i].Replaced; lost.ID != (asset.ID{}) {
				if _, err = db.submitAbout(t, lost, n.Farewell, &done); err != nil {
					return err
				}
			}
			results[i].Tasks, err = db.submitAbout(t, n.Image, n.Tasks, &done)
			return err
		})
	}
	if err := db.writer.do(ctx, operations...); err != nil {
		return nil, err
	}
	if db.tasks != nil {
		done.send(db.tasks.cfg.Signals)
	}
	return results, nil
}

// submitAbout submits tasks about an image in the image's own transaction.
func (db *DB) submitAbout(t *tx, img asset.Image, tasks []task.New, done *effects) ([]task.Task, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	if db.tasks == nil {
		return nil, fault.New(fault.Internal, "tasks were to be stored, but no queue is open")
	}
	now, _ := db.tasks.clock()
	stored := make([]task.Task, len(tasks))
	for i, n := range tasks {
		n.Owner, n.Image = img.Owner, img.ID
		if err := n.Check(now); err != nil {
			return nil, err
		}
		var err error
		if stored[i], err = db.tasks.submit(t, n, now, done); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// storeImage stores a new image, or finds the one that an earlier request with
// the same token has stored.
func (t *tx) storeImage(n *catalog.NewImage, row row) (catalog.Result, error) {
	var res catalog.Result
	img := &n.Image
	if n.Replay.Token != "" {
		earlier, err := t.replayed(n)
		if err != nil || earlier.ID != (asset.ID{}) {
			return catalog.Result{Image: earlier, Replayed: true}, err
		}
	}
	now := time.Now().UnixMilli()
	source := &img.Source
	used, err := t.exec(sqlUseBlob, source.Digest[:], source.Bytes, source.Header.Format.String(), row.header, now)
	if err != nil {
		return res, err
	}
	if used > 0 {
		if _, err := t.exec(sqlPlaceBlob, source.Digest[:], now); err != nil {
			return res, err
		}
	}
	rows, err := t.exec(sqlInsertImage, img.ID[:], img.Owner, source.Digest[:], img.Name, img.Category, row.tags,
		img.Created.UnixMilli(), img.Looks.Verified, row.thumbHash, img.Looks.BlurHash, int64(img.Looks.PHash))
	if err != nil {
		return res, err
	}
	if rows == 0 {
		return res, fault.New(fault.Conflict, "there is an image with this id already")
	}
	for _, tag := range img.Tags {
		if _, err := t.exec(sqlInsertTag, img.Owner, tag, img.ID[:]); err != nil {
			return res, err
		}
	}
	res.Image = stored.Image(*img)
	if res.Image.Key, res.Replaced, err = t.takeKey(n); err != nil {
		return catalog.Result{}, err
	}
	if n.Replay.Token != "" {
		_, err = t.exec(sqlPutReplay, img.Owner, n.Replay.Token, n.Replay.Ordinal, img.ID[:], source.Digest[:], now)
	}
	return res, err
}

// replayed finds the image that the same file of the same request has made
// before; a zero ID where there was none. A token whose image is gone stays
// spent: to carry the request out again would undo what came after it.
func (t *tx) replayed(n *catalog.NewImage) (asset.Image, error) {
	var id, digest []byte
	err := t.row(sqlFindReplay, n.Image.Owner, n.Replay.Token, n.Replay.Ordinal).Scan(&id, &digest)
	if errors.Is(err, sql.ErrNoRows) {
		return asset.Image{}, nil
	}
	if err != nil {
		return asset.Image{}, err
	}
	if string(digest) != string(n.Image.Source.Digest[:]) {
		return asset.Image{}, &fault.Error{Kind: fault.Unprocessable, Code: "idempotency-key-reused",
			Message: "this Idempotency-Key was used for different content"}
	}
	img, err := scanImage(t.row(sqlLoadImage, id, n.Image.Owner))
	if errors.Is(err, sql.ErrNoRows) {
		return asset.Image{}, &fault.Error{Kind: fault.Conflict, Code: "idempotency-key-spent",
			Message: "what this Idempotency-Key stored has been deleted or replaced since; use a new key to store it again"}
	}
	return img, err
}

// takeKey gives a stored image its key by the rule. It returns the key and the
// image that lost it.
func (t *tx) takeKey(n *catalog.NewImage) (key string, replaced asset.Image, err error) {
	candidates := n.Keys
	if n.Rule != catalog.TakeFree {
		candidates = n.Keys[:1]
	}
	if n.Rule == catalog.Replace {
		if replaced, err = t.clearKey(n.Image.Owner, n.Keys[0]); err != nil {
			return "", asset.Image{}, err
		}
	}
	for _, key := range candidates {
		took, err := t.exec(sqlTakeKey, n.Image.Owner, key, n.Image.ID[:])
		if err != nil {
			return "", asset.Image{}, err
		}
		if took > 0 {
			return key, replaced, nil
		}
	}
	if n.Rule == catalog.Refuse {
		return "", asset.Image{}, fault.New(fault.Precondition, "there is an image under the key %q already", n.Keys[0])
	}
	return "", asset.Image{}, fault.New(fault.Conflict, "every key for the image %q is taken", n.Image.Name)
}

// clearKey deletes the image that a key points at, if any, and returns it.
func (t *tx) clearKey(owner, key string) (asset.Image, error) {
	var id []byte
	err := t.row(sqlFindKey, owner, key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return asset.Image{}, nil
	}
	if err != nil {
		return asset.Image{}, err
	}
	img, err := scanImage(t.row(sqlLoadImage, id, owner))
	if err != nil {
		return asset.Image{}, err
	}
	return img, t.drop(img)
}

// deleteImage deletes an image, which must exist.
func (t *tx) deleteImage(owner string, id asset.ID) error {
	img, err := scanImage(t.row(sqlLoadImage, id[:], owner))
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "there is no image with the id %s", id)
	}
	if err != nil {
		return err
	}
	return t.drop(img)
}

// drop removes an image's rows, withdraws its publications, and releases its
// source if nobody else has it.
func (t *tx) drop(img asset.Image) error {
	if _, err := t.exec(sqlDeleteImage, img.ID[:], img.Owner); err != nil {
		return err
	}
	if _, err := t.exec(sqlWithdrawAll, time.Now().UnixMilli(), img.ID[:]); err != nil {
		return err
	}
	if _, err := t.exec(sqlDropOutputs, img.ID[:]); err != nil {
		return err
	}
	_, err := t.exec(sqlReleaseBlob, time.Now().UnixMilli(), img.Source.Digest[:])
	return err
}

// Secret implements catalog.Catalog.
func (db *DB) Secret(ctx context.Context, name string, fresh func() []byte) ([]byte, error) {
	var value []byte
	err := db.reads[selectSecret].QueryRowContext(ctx, name).Scan(&value)
	if !errors.Is(err, sql.ErrNoRows) {
		return value, classify(err, "reading a secret")
	}
	offer := fresh()
	err = db.writer.do(ctx, func(t *tx) error {
		if _, err := t.exec(sqlPutSecret, name, offer); err != nil {
			return err
		}
		return t.row(sqlFindSecret, name).Scan(&value)
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}
