package sqlite

import "safelight/internal/catalog/stored"

// ofPublication names a row of publications.
const ofPublication = ` WHERE image_id = ? AND preset = ? AND destination = ?`

// Texts of the writer's statements about renditions and publications; they have
// their numbers in statements.go.
const (
	textPutRendition = `INSERT INTO renditions (` + stored.RenditionColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (image_id, preset) DO UPDATE SET (variant, source, options, format, width, height, pages, bytes,
			digest, created, first_bytes, encoder, note) = (excluded.variant, excluded.source, excluded.options,
			excluded.format, excluded.width, excluded.height, excluded.pages, excluded.bytes, excluded.digest,
			excluded.created, excluded.first_bytes, excluded.encoder, excluded.note)
		WHERE renditions.variant = excluded.variant OR excluded.encoder = '' AND excluded.note = ''`

	textHasRendition        = `SELECT EXISTS (SELECT 1 FROM renditions WHERE image_id = ? AND preset = ? AND variant = ?)`
	textOutdateAlternatives = `DELETE FROM alternatives WHERE image_id = ? AND preset = ? AND main <> ?`
	textDropAlternatives    = `DELETE FROM alternatives WHERE image_id = ? AND preset = ?`
	textPutAlternative      = `INSERT INTO alternatives (` + stored.RenditionColumns + `, main)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	textHasImage        = `SELECT EXISTS (SELECT 1 FROM images WHERE id = ? AND owner = ?)`
	textLoadPublication = `SELECT ` + stored.PublicationColumns + ` FROM publications` + ofPublication
	// A name can't be another's folder either: ?3 and ?4 are the range of names
	// below ?2.
	textNameTaken = `SELECT image_id, owner, state FROM publications
		WHERE destination = ?1 AND (name = ?2 OR name >= ?3 AND name < ?4) LIMIT 1`
	textInsertPublication = `INSERT INTO publications (` + stored.PublicationColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	textMovePublication   = `UPDATE publications SET digest = ?, bytes = ?, state = ?, updated = ?` + ofPublication
	textWithdrawOne       = `UPDATE publications SET state = 2, updated = ?` + ofPublication + ` AND state <> 2`
	textWithdrawAll       = `UPDATE publications SET state = 2, updated = ? WHERE image_id = ? AND state <> 2`
	textForgetPublication = `DELETE FROM publications` + ofPublication + ` AND state = 2 AND updated = ?`
	textPublicationsOf    = `SELECT ` + stored.PublicationColumns + ` FROM publications WHERE image_id = ? ORDER BY preset, destination`
)

// Statements of the readers about renditions and publications.
const (
	selectRendition = `SELECT ` + stored.RenditionColumns + ` FROM renditions r WHERE image_id = ? AND preset = ?
		AND EXISTS (SELECT 1 FROM images WHERE id = r.image_id AND owner = ?)`
	selectRenditions = `SELECT ` + stored.RenditionColumns + ` FROM renditions r WHERE image_id = ?
		AND EXISTS (SELECT 1 FROM images WHERE id = r.image_id AND owner = ?) ORDER BY preset`
	selectKept = `SELECT ` + stored.RenditionColumns + ` FROM renditions WHERE variant = ?
		ORDER BY encoder = '', bytes, image_id, preset LIMIT 1`
	selectRenditionsWith  = `SELECT ` + stored.RenditionColumns + ` FROM renditions WHERE digest = ? LIMIT ?`
	selectRenditionDigest = `SELECT EXISTS (SELECT 1 FROM renditions WHERE digest = ?1)
		OR EXISTS (SELECT 1 FROM alternatives WHERE digest = ?1)`

	selectAlternativesTo = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE main = ? ORDER BY bytes, format LIMIT ?`
	selectAlternativesOf = `SELECT ` + stored.RenditionColumns + ` FROM alternatives a WHERE image_id = ?
		AND EXISTS (SELECT 1 FROM images WHERE id = a.image_id AND owner = ?) ORDER BY preset, format`
	selectKeptAlternative  = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE variant = ? ORDER BY bytes, image_id, preset LIMIT 1`
	selectAlternativesWith = `SELECT ` + stored.RenditionColumns + ` FROM alternatives WHERE digest = ? LIMIT ?`

	selectPublicationsOf = textPublicationsOf
	selectPublished      = `SELECT ` + stored.PublicationColumns + ` FROM publications WHERE state = 1 AND digest = ? ORDER BY image_id, preset, destination`
	selectPublishedName  = `SELECT EXISTS (SELECT 1 FROM publications WHERE destination = ? AND name = ?)`

	// ?1 to ?3 are the cursor, ?4 the time, ?5 the limit, ?6 the state.
	listPublications = `SELECT ` + stored.PublicationColumns + ` FROM publications
		WHERE (image_id, preset, destination) > (?1, ?2, ?3) AND updated < ?4
		ORDER BY image_id, preset, destination LIMIT ?5`
	listPublicationsIn = `SELECT ` + stored.PublicationColumns + ` FROM publications
		WHERE state = ?6 AND (image_id, preset, destination) > (?1, ?2, ?3) AND updated < ?4
		ORDER BY image_id, preset, destination LIMIT ?5`
	countPublications = `SELECT count(*) FROM publications WHERE state IN (0, 1, 2)`

	selectImagesOf    = imageColumns + `FROM images i` + imageJoins + `WHERE i.digest = ? LIMIT ?`
	selectImagesAfter = imageColumns + `FROM images i` + imageJoins + `WHERE i.id > ? ORDER BY i.id LIMIT ?`
)

// publishReads are the readers' statements to prepare.
var publishReads = []string{
	selectRendition, selectRenditions, selectKept, selectRenditionsWith, selectRenditionDigest,
	selectAlternativesTo, selectAlternativesOf, selectKeptAlternative, selectAlternativesWith,
	selectPublicationsOf, selectPublished, selectPublishedName, listPublications, listPublicationsIn, countPublications,
	selectImagesOf, selectImagesAfter, selectRecompression,
}
