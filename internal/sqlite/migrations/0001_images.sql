-- +goose Up

-- Times are Unix milliseconds. Digests are 32 bytes, ids are 16.

CREATE TABLE blobs (
    digest      BLOB    NOT NULL PRIMARY KEY,
    bytes       INTEGER NOT NULL,
    format      TEXT    NOT NULL,
    header      TEXT    NOT NULL, -- JSON, as probed at ingest
    created     INTEGER NOT NULL,
    released_at INTEGER           -- since when no image has it; NULL while one does
) STRICT, WITHOUT ROWID;

CREATE INDEX blobs_released ON blobs (released_at) WHERE released_at IS NOT NULL;

CREATE TABLE placements (
    digest  BLOB    NOT NULL REFERENCES blobs (digest) ON DELETE CASCADE,
    store   TEXT    NOT NULL, -- 'home' or a destination
    state   TEXT    NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (digest, store)
) STRICT, WITHOUT ROWID;

-- Rows are never updated: an image never changes.
CREATE TABLE images (
    id        BLOB    NOT NULL PRIMARY KEY,
    owner     TEXT    NOT NULL,
    digest    BLOB    NOT NULL REFERENCES blobs (digest),
    name      TEXT    NOT NULL,
    category  TEXT    NOT NULL,
    tags      TEXT,              -- JSON array in the client's order; image_tags is the index
    created   INTEGER NOT NULL,
    verified  INTEGER NOT NULL,
    thumbhash BLOB,
    blurhash  TEXT    NOT NULL,
    phash     INTEGER NOT NULL   -- 64 bits, as a signed number
) STRICT, WITHOUT ROWID;

CREATE INDEX images_owner ON images (owner, id);
CREATE INDEX images_digest ON images (digest);

CREATE TABLE keys (
    owner    TEXT NOT NULL,
    key      TEXT NOT NULL,
    image_id BLOB NOT NULL UNIQUE REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE image_tags (
    owner    TEXT NOT NULL,
    tag      TEXT NOT NULL,
    image_id BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, tag, image_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX image_tags_image ON image_tags (image_id);

-- image_id may name an image that is gone: then the token is free again for
-- the same content.
CREATE TABLE replays (
    owner    TEXT    NOT NULL,
    token    TEXT    NOT NULL,
    ordinal  INTEGER NOT NULL,
    image_id BLOB    NOT NULL,
    digest   BLOB    NOT NULL,
    created  INTEGER NOT NULL,
    PRIMARY KEY (owner, token, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX replays_created ON replays (created);

CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
