package sqlite

// imageColumns and imageJoins make rows for scanImage.
const (
	imageColumns = `SELECT i.id, i.owner, coalesce(k.key, ''), i.name, i.category, i.tags, i.created,
		i.verified, i.thumbhash, i.blurhash, i.phash, b.digest, b.bytes, b.header `
	imageJoins = ` JOIN blobs b ON b.digest = i.digest LEFT JOIN keys k ON k.image_id = i.id `
)

// Statements of the writer, by number; each is prepared once.
const (
	sqlBegin = iota
	sqlCommit
	sqlRollback
	sqlSavepoint
	sqlRelease
	sqlRollbackTo
	sqlUseBlob
	sqlPlaceBlob
	sqlReleaseBlob
	sqlInsertImage
	sqlDeleteImage
	sqlLoadImage
	sqlTakeKey
	sqlFindKey
	sqlInsertTag
	sqlFindReplay
	sqlPutReplay
	sqlDropReplays
	sqlPutSecret
	sqlFindSecret
	sqlForgetBlob
	sqlInsertTask
	sqlReplaceTask
	sqlMoveTask
	sqlLoadTask
	sqlLiveTask
	sqlNextLane
	sqlReadyTasks
	sqlReadyIDs
	sqlRunningOf
	sqlRunningLock
	sqlMakeDue
	sqlExpired
	sqlHeldBy
	sqlClamp
	sqlPrune
	sqlAnnounce
	sqlForgetFunctions
	sqlDropOutputs
	sqlPutRendition
	sqlHasRendition
	sqlOutdateAlternatives
	sqlDropAlternatives
	sqlPutAlternative
	sqlHasImage
	sqlLoadPublication
	sqlNameTaken
	sqlInsertPublication
	sqlMovePublication
	sqlWithdrawOne
	sqlWithdrawAll
	sqlForgetPublication
	sqlPublicationsOf
	sqlPutRecompression
	writeStatements // how many there are
)

var writeSQL = [writeStatements]string{
	sqlBegin:      `BEGIN IMMEDIATE`,
	sqlCommit:     `COMMIT`,
	sqlRollback:   `ROLLBACK`,
	sqlSavepoint:  `SAVEPOINT job`,
	sqlRelease:    `RELEASE job`,
	sqlRollbackTo: `ROLLBACK TO job`,

	// One row changes where the blob is new or was released, none otherwise.
	sqlUseBlob: `INSERT INTO blobs (digest, bytes, format, header, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (digest) DO UPDATE SET released_at = NULL WHERE released_at IS NOT NULL`,
	sqlPlaceBlob: `INSERT INTO placements (digest, store, state, created) VALUES (?, 'home', 'stored', ?)
		ON CONFLICT DO NOTHING`,
	sqlReleaseBlob: `UPDATE blobs SET released_at = ?1 WHERE digest = ?2
		AND NOT EXISTS (SELECT 1 FROM images WHERE digest = ?2)`,
	sqlForgetBlob: `DELETE FROM blobs WHERE digest = ?1 AND released_at < ?2
		AND NOT EXISTS (SELECT 1 FROM images WHERE digest = ?1)`,

	sqlInsertImage: `INSERT INTO images
		(id, owner, digest, name, category, tags, created, verified, thumbhash, blurhash, phash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
	sqlDeleteImage: `DELETE FROM images WHERE id = ? AND owner = ?`,
	sqlLoadImage:   selectImage,
	sqlInsertTag:   `INSERT INTO image_tags (owner, tag, image_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
	sqlTakeKey:     `INSERT INTO keys (owner, key, image_id) VALUES (?, ?, ?) ON CONFLICT (owner, key) DO NOTHING`,
	sqlFindKey:     `SELECT image_id FROM keys WHERE owner = ? AND key = ?`,

	sqlFindReplay: `SELECT image_id, digest FROM replays WHERE owner = ? AND token = ? AND ordinal = ?`,
	sqlPutReplay: `INSERT OR REPLACE INTO replays (owner, token, ordinal, image_id, digest, created)
		VALUES (?, ?, ?, ?, ?, ?)`,
	sqlDropReplays: `DELETE FROM replays WHERE created < ?`,

	sqlPutSecret:  `INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`,
	sqlFindSecret: selectSecret,

	sqlInsertTask: textInsertTask, sqlReplaceTask: textReplaceTask, sqlMoveTask: textMoveTask,
	sqlLoadTask: textLoadTask, sqlLiveTask: textLiveTask,
	sqlNextLane: textNextLane, sqlReadyTasks: textReadyTasks, sqlReadyIDs: textReadyIDs, sqlRunningOf: textRunningOf, sqlRunningLock: textRunningLock,
	sqlMakeDue: textMakeDue, sqlExpired: textExpired, sqlHeldBy: textHeldBy, sqlClamp: textClamp,
	sqlPrune: textPrune, sqlAnnounce: textAnnounce, sqlForgetFunctions: textForgetFunctions, sqlDropOutputs: textDropOutputs,

	sqlPutRendition: textPutRendition, sqlHasRendition: textHasRendition, sqlOutdateAlternatives: textOutdateAlternatives,
	sqlDropAlternatives: textDropAlternatives, sqlPutAlternative: textPutAlternative,
	sqlHasImage: textHasImage, sqlLoadPublication: textLoadPublication,
	sqlNameTaken: textNameTaken, sqlInsertPublication: textInsertPublication, sqlMovePublication: textMovePublication,
	sqlWithdrawOne: textWithdrawOne, sqlWithdrawAll: textWithdrawAll, sqlForgetPublication: textForgetPublication,
	sqlPublicationsOf: textPublicationsOf, sqlPutRecompression: textPutRecompression,
}

// Statements of the readers.
const (
	selectImage  = imageColumns + `FROM images i` + imageJoins + `WHERE i.id = ? AND i.owner = ?`
	selectByKey  = imageColumns + `FROM keys k JOIN images i ON i.id = k.image_id JOIN blobs b ON b.digest = i.digest WHERE k.owner = ? AND k.key = ?`
	selectSecret = `SELECT value FROM secrets WHERE name = ?`

	// Each listing first finds the ids in an index alone. ?1 is the owner, ?2
	// the id to stay below, ?3 the limit, ?4 and ?5 the range of keys, ?6 the tag.
	listAll = listHead + `SELECT id FROM images WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3` + listTail
	listTag = listHead + `SELECT image_id FROM image_tags WHERE owner = ?1 AND tag = ?6 AND image_id < ?2
		ORDER BY image_id DESC LIMIT ?3` + listTail
	listPrefix = listHead + `SELECT image_id FROM keys WHERE owner = ?1 AND key >= ?4 AND key < ?5 AND image_id < ?2
		ORDER BY image_id DESC LIMIT ?3` + listTail
	listPrefixTag = listHead + `SELECT p.image_id FROM keys p JOIN image_tags t ON t.image_id = p.image_id
		WHERE p.owner = ?1 AND p.key >= ?4 AND p.key < ?5 AND p.image_id < ?2 AND t.owner = ?1 AND t.tag = ?6
		ORDER BY p.image_id DESC LIMIT ?3` + listTail

	listHead = imageColumns + `FROM images i` + imageJoins + `WHERE i.id IN (`
	listTail = `) ORDER BY i.id DESC`

	selectReleased = `SELECT digest FROM blobs WHERE released_at < ? ORDER BY released_at LIMIT ?`
	selectBlob     = `SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?)`
	selectUse      = `SELECT EXISTS (SELECT 1 FROM images WHERE digest = ?)`
	countImages    = `SELECT count(*) FROM images WHERE owner = ?`
	selectPing     = `SELECT count(*) FROM (SELECT 1 FROM secrets LIMIT 1)`
)
