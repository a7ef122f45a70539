package postgres

import "safelight/internal/catalog/stored"

// ofPublication names a row of publications.
const ofPublication = ` WHERE image_id = $1 AND preset = $2 AND destination = $3`

// Statements that write renditions and publications.
const (
	lockImage = `SELECT 1 FROM images WHERE id = $1 AND owner = $2 FOR KEY SHARE`

	// $16 is the owner: nothing is put for an image that is not there.
	putRendition = `INSERT INTO renditions (` + stored.RenditionColumns + `)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
		WHERE EXISTS (SELECT 1 FROM images WHERE id = $1 AND owner = $16)
		ON CONFLICT (image_id, preset) DO UPDATE SET (variant, source, options, format, width, height, pages, bytes,
			digest, created, first_bytes, encoder, note) = (excluded.variant, excluded.source, excluded.options,
			excluded.format, excluded.width, excluded.height, excluded.pages, excluded.bytes, excluded.digest,
			excluded.created, excluded.first_bytes, excluded.encoder, excluded.note)
		WHERE renditions.variant = excluded.variant OR excluded.encoder = '' AND excluded.note = ''
		RETURNING 1`
	lockRendition       = `SELECT 1 FROM renditions WHERE image_id = $1 AND preset = $2 AND variant = $3 FOR UPDATE`
	outdateAlternatives = `DELETE FROM alternatives WHERE image_id = $1 AND preset = $2 AND main <> $3`
	dropAlternatives    = `DELETE FROM alternatives WHERE image_id = $1 AND preset = $2`
	putAlternative      = `INSERT INTO alternatives (` + stored.RenditionColumns + `, main)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`

	// Until the transaction has ended, nobody else takes the same name, nor
	// uses it as a folder.
	lockObject  = `SELECT pg_advisory_xact_lock(hashtextextended($1, 1))`
	shareObject = `SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 1))`

	loadPublication = `SELECT ` + stored.PublicationColumns + ` FROM publications` + ofPublication + ` FOR UPDATE`
	// A name can't be another's folder either: $3 and $4 are the range of names
	// below $2, and $5 its folders.
	nameTaken = `SELECT image_id, owner, state FROM publications
		WHERE destination = $1 AND (name = $2 OR name >= $3 AND name < $4 OR name = ANY ($5)) LIMIT 1`
	insertPublication = `INSERT INTO publications (` + stored.PublicationColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	movePublication   = `UPDATE publications SET digest = $4, bytes = $5, state = $6, updated = $7` + ofPublication
	withdrawSome      = `UPDATE publications SET state = 2, updated = $2
		WHERE image_id = $1 AND state <> 2 AND ($3::text IS NULL OR preset = $3) AND ($4::text IS NULL OR destination = $4)`
	selectWithdrawn = `SELECT ` + stored.PublicationColumns + ` FROM publications
		WHERE image_id = $1 AND ($2::text IS NULL OR preset = $2) AND ($3::text IS NULL OR destination = $3) ORDER BY preset, destination`
	forgetPublication = `DELETE FROM publications` + ofPublication + ` AND state = 2 AND updated = $4`
)

// Statements that read renditions and publications.
const (
	selectRendition = `SELECT ` + stored.RenditionColumns + ` FROM renditions r WHERE image_id = $1 AND preset = $2
		AND EXISTS (SELECT 1 FROM images WHERE id = r.image_id AND owner = $3)`
	selectRenditions = `SELECT ` + stored.RenditionColumns + ` FROM renditions r WHERE image_id = $1
		AND EXISTS (SELECT 1 FROM images WHERE id = r.image_id AND owner = $2) ORDER BY preset`
	selectKept = `SELECT ` + stored.RenditionColumns + ` FROM renditions WHERE variant = $1
		ORDER BY encoder = '', bytes, image_id, preset LIMIT 1`
	selectRenditionsWith    = `SELECT ` + stored.RenditionColumns + ` FROM renditions WHERE digest = $1 LIMIT $2`
	selectUnknownRenditions = `SELECT d FROM unnest($1::bytea[]) WITH ORDINALITY u(d, n)
		WHERE NOT EXISTS (SELECT 1 FROM renditions WHERE digest = d) AND NOT EXISTS (SELECT 1 FROM alternatives WHERE digest = d) ORDER BY n`

	selectAlternativesTo = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE main = $1 ORDER BY bytes, format LIMIT $2`
	selectAlternativesOf = `SELECT ` + stored.RenditionColumns + ` FROM alternatives a WHERE image_id = $1
		AND EXISTS (SELECT 1 FROM images WHERE id = a.image_id AND owner = $2) ORDER BY preset, format`
	selectKeptAlternative  = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE variant = $1 ORDER BY bytes, image_id, preset LIMIT 1`
	selectAlternativesWith = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE digest = $1 LIMIT $2`

	selectPublicationsOf = `SELECT ` + stored.PublicationColumns + ` FROM publications WHERE image_id = $1 ORDER BY preset, destination`
	selectPublished      = `SELECT ` + stored.PublicationColumns + ` FROM publications WHERE state = 1 AND digest = $1 ORDER BY image_id, preset, destination`
	selectUnknownNames   = `SELECT u.name FROM unnest($2::text[]) WITH ORDINALITY u(name, n)
		WHERE NOT EXISTS (SELECT 1 FROM publications p WHERE p.destination = $1 AND p.name = u.name) ORDER BY n`

	// $1 to $3 are the cursor, $4 the time, $5 the limit, $6 the state.
	listPublications = `SELECT ` + stored.PublicationColumns + ` FROM publications
		WHERE (image_id, preset, destination) > ($1, $2, $3) AND updated < $4
		ORDER BY image_id, preset, destination LIMIT $5`
	listPublicationsIn = `SELECT ` + stored.PublicationColumns + ` FROM publications
		WHERE state = $6 AND (image_id, preset, destination) > ($1, $2, $3) AND updated < $4
		ORDER BY image_id, preset, destination LIMIT $5`
	countPublications = `SELECT count(*) FROM publications`

	selectImagesOf    = imageColumns + `FROM images i` + imageJoins + `WHERE i.digest = $1 LIMIT $2`
	selectImagesAfter = imageColumns + `FROM images i` + imageJoins + `WHERE i.id > $1 ORDER BY i.id LIMIT $2`
)
