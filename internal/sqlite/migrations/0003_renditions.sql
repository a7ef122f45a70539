-- +goose Up

-- Times are Unix milliseconds. Digests are 32 bytes, ids and variants are 16.

-- The renditions of presets; others are in caches only.
CREATE TABLE renditions (
    image_id    BLOB    NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    preset      TEXT    NOT NULL,
    variant     BLOB    NOT NULL,
    source      BLOB    NOT NULL,
    options     TEXT    NOT NULL, -- canonical
    format      TEXT    NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    pages       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    digest      BLOB    NOT NULL,
    created     INTEGER NOT NULL,
    first_bytes INTEGER NOT NULL,
    encoder     TEXT    NOT NULL, -- empty for the fast one
    note        TEXT    NOT NULL, -- JSON, or empty
    PRIMARY KEY (image_id, preset)
) STRICT, WITHOUT ROWID;

CREATE INDEX renditions_variant ON renditions (variant);
CREATE INDEX renditions_digest ON renditions (digest);

-- Objects at destinations. Rows outlive their images: that is how an object is
-- remembered that is still to be removed. The states are those of
-- catalog.PublicationState: 0 writing, 1 confirmed, 2 withdrawn.
CREATE TABLE publications (
    image_id    BLOB    NOT NULL,
    preset      TEXT    NOT NULL, -- empty for the source
    destination TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    digest      BLOB    NOT NULL,
    bytes       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    PRIMARY KEY (image_id, preset, destination),
    UNIQUE (destination, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX publications_digest ON publications (digest) WHERE state = 1;
-- Within a state the rows are in the order of the primary key, as listings are.
CREATE INDEX publications_state ON publications (state);
