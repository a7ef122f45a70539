package postgres

// imageColumns and imageJoins make rows for scanImage.
const (
	imageColumns = `SELECT i.id, i.owner, coalesce(k.key, ''), i.name, i.category, i.tags, i.created,
		i.verified, i.thumbhash, i.blurhash, i.phash, b.digest, b.bytes, b.header `
	imageJoins = ` JOIN blobs b ON b.digest = i.digest LEFT JOIN keys k ON k.image_id = i.id `
)

// Statements that read.
const (
	selectImage  = imageColumns + `FROM images i` + imageJoins + `WHERE i.id = $1 AND i.owner = $2`
	selectByKey  = imageColumns + `FROM keys k JOIN images i ON i.id = k.image_id JOIN blobs b ON b.digest = i.digest WHERE k.owner = $1 AND k.key = $2`
	selectSecret = `SELECT value FROM secrets WHERE name = $1`
	putSecret    = `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	// Each listing first finds the ids in an index alone. $1 is the owner, $2
	// the id to stay below, $3 the limit.
	listAll = listHead + `SELECT id FROM images WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3` + listTail
	listTag = listHead + `SELECT image_id FROM image_tags WHERE owner = $1 AND tag = $4 AND image_id < $2
		ORDER BY image_id DESC LIMIT $3` + listTail
	listPrefix = listHead + `SELECT image_id FROM keys WHERE owner = $1 AND key >= $4 AND ($5 = '' OR key < $5) AND image_id < $2
		ORDER BY image_id DESC LIMIT $3` + listTail
	listPrefixTag = listHead + `SELECT p.image_id FROM keys p JOIN image_tags t ON t.image_id = p.image_id
		WHERE p.owner = $1 AND p.key >= $4 AND ($5 = '' OR p.key < $5) AND p.image_id < $2 AND t.owner = $1 AND t.tag = $6
		ORDER BY p.image_id DESC LIMIT $3` + listTail

	listHead = imageColumns + `FROM images i` + imageJoins + `WHERE i.id IN (`
	listTail = `) ORDER BY i.id DESC`

	selectReleased = `SELECT digest FROM blobs WHERE released_at < $1 ORDER BY released_at LIMIT $2`
	selectUnknown  = `SELECT d FROM unnest($1::bytea[]) WITH ORDINALITY u(d, n)
		WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE digest = d) ORDER BY n`
	selectUse   = `SELECT EXISTS (SELECT 1 FROM images WHERE digest = $1)`
	countImages = `SELECT count(*) FROM images WHERE owner = $1`
	selectPing  = `SELECT count(*) FROM (SELECT 1 FROM secrets LIMIT 1) s`

	forgetBlob = `DELETE FROM blobs WHERE digest = $1 AND released_at < $2
		AND NOT EXISTS (SELECT 1 FROM images WHERE digest = $1)`
	dropReplays = `DELETE FROM replays WHERE created < $1`
)

// Removals of bytes. A statement sees what was committed before it began, so the
// lock is one statement and the look another.
const (
	fenceExclusive = `SELECT pg_advisory_xact_lock($1, $2)`
	fenceShared    = `SELECT pg_advisory_xact_lock_shared($1, $2)`
	selectRemovals = `SELECT digest FROM removals WHERE digest = ANY($1::bytea[]) AND until > ` + serverTime + ` LIMIT 1`
	putRemoval     = `INSERT INTO removals (digest, node, until) VALUES ($1, $2, ` + serverTime + ` + $3::bigint)
		ON CONFLICT (digest) DO UPDATE SET node = excluded.node, until = excluded.until
		WHERE removals.until <= ` + serverTime
	dropRemoval = `DELETE FROM removals WHERE digest = $1 AND node = $2`

	serverTime = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
)

// What a commit reads. Rows that it may delete are locked, in the order of
// their ids, as all transactions do.
const (
	commitReplays = `SELECT r.owner, r.token, r.ordinal, r.image_id, r.digest FROM unnest($1::text[], $2::bytea[], $3::bigint[]) u(owner, token, ordinal)
		JOIN replays r ON r.owner = u.owner AND r.token = u.token AND r.ordinal = u.ordinal`
	commitReplayed = imageColumns + `FROM unnest($1::text[], $2::bytea[], $3::bigint[]) u(owner, token, ordinal)
		JOIN replays r ON r.owner = u.owner AND r.token = u.token AND r.ordinal = u.ordinal
		JOIN images i ON i.id = r.image_id AND i.owner = r.owner` + imageJoins
	commitKeys = `SELECT k.owner, k.key, k.image_id FROM unnest($1::text[], $2::text[]) u(owner, key)
		JOIN keys k ON k.owner = u.owner AND k.key = u.key`
	// $1 are ids, $2 and $3 keys.
	commitVictims = imageColumns + `FROM images i` + imageJoins + `WHERE i.id IN (SELECT unnest($1::bytea[]) UNION
		SELECT k.image_id FROM unnest($2::text[], $3::text[]) u(owner, key) JOIN keys k ON k.owner = u.owner AND k.key = u.key)
		ORDER BY i.id FOR UPDATE OF i`
)

// What a commit writes, in this order. Sources are locked before anything is
// told about who uses them.
const (
	commitLockBlobs = `SELECT 1 FROM blobs WHERE digest = ANY ($1) ORDER BY digest FOR UPDATE`
	commitUseBlobs  = `INSERT INTO blobs (digest, bytes, format, header, created)
		SELECT digest, bytes, format, header, $5::bigint FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[]) u(digest, bytes, format, header) ORDER BY digest
		ON CONFLICT (digest) DO UPDATE SET released_at = NULL WHERE blobs.released_at IS NOT NULL`
	commitPlaceBlobs = `INSERT INTO placements (digest, store, state, created)
		SELECT digest, 'home', 'stored', $2::bigint FROM unnest($1::bytea[]) u(digest) ORDER BY digest ON CONFLICT DO NOTHING`
	commitDeleteImages = `DELETE FROM images WHERE id = ANY ($1)`
	commitInsertImages = `INSERT INTO images (id, owner, digest, name, category, tags, created, verified, thumbhash, blurhash, phash)
		SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::boolean[], $9::bytea[], $10::text[], $11::bigint[])`
	commitInsertTags = `INSERT INTO image_tags (owner, tag, image_id)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) ON CONFLICT DO NOTHING`
	commitInsertKeys = `INSERT INTO keys (owner, key, image_id)
		SELECT owner, key, id FROM unnest($1::text[], $2::text[], $3::bytea[]) u(owner, key, id) ORDER BY owner COLLATE "C", key COLLATE "C"`
	commitPutReplays = `INSERT INTO replays (owner, token, ordinal, image_id, digest, created)
		SELECT owner, token, ordinal, id, digest, $6::bigint
		FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bytea[]) u(owner, token, ordinal, id, digest)
		ORDER BY owner COLLATE "C", token, ordinal`
	commitReleaseBlobs = `UPDATE blobs b SET released_at = $2 WHERE digest = ANY ($1)
		AND NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = b.digest)`
	commitWithdraw    = `UPDATE publications SET state = 2, updated = $2 WHERE image_id = ANY ($1) AND state <> 2`
	commitDropOutputs = `UPDATE tasks SET output = '', output_bytes = 0, output_type = ''
		WHERE image = ANY ($1) AND image <> '' AND state > 2 AND output <> ''`
)
