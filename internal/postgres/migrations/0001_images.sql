-- +goose Up

-- Times are Unix milliseconds. Digests are 32 bytes, ids and variants are 16.
-- Text is compared by its bytes, so that listings by prefix are ranges.

CREATE TABLE blobs (
    digest      bytea  NOT NULL PRIMARY KEY,
    bytes       bigint NOT NULL,
    format      text   NOT NULL,
    header      text   NOT NULL, -- JSON, as probed at ingest
    created     bigint NOT NULL,
    released_at bigint           -- since when no image has it; NULL while one does
);

CREATE INDEX blobs_released ON blobs (released_at) WHERE released_at IS NOT NULL;

CREATE TABLE placements (
    digest  bytea  NOT NULL REFERENCES blobs (digest) ON DELETE CASCADE,
    store   text   NOT NULL, -- 'home' or a destination
    state   text   NOT NULL,
    created bigint NOT NULL,
    PRIMARY KEY (digest, store)
);

-- Rows are never updated: an image never changes.
CREATE TABLE images (
    id        bytea   NOT NULL PRIMARY KEY,
    owner     text    COLLATE "C" NOT NULL,
    digest    bytea   NOT NULL REFERENCES blobs (digest),
    name      text    NOT NULL,
    category  text    NOT NULL,
    tags      text,              -- JSON array in the client's order; image_tags is the index
    created   bigint  NOT NULL,
    verified  boolean NOT NULL,
    thumbhash bytea,
    blurhash  text    NOT NULL,
    phash     bigint  NOT NULL   -- 64 bits, as a signed number
);

CREATE INDEX images_owner ON images (owner, id);
CREATE INDEX images_digest ON images (digest);

CREATE TABLE keys (
    owner    text  COLLATE "C" NOT NULL,
    key      text  COLLATE "C" NOT NULL,
    image_id bytea NOT NULL UNIQUE REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, key)
);

CREATE TABLE image_tags (
    owner    text  COLLATE "C" NOT NULL,
    tag      text  COLLATE "C" NOT NULL,
    image_id bytea NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, tag, image_id)
);

CREATE INDEX image_tags_image ON image_tags (image_id);

-- image_id may name an image that is gone: then the token is free again for
-- the same content. A token is whatever a header's value can be.
CREATE TABLE replays (
    owner    text   COLLATE "C" NOT NULL,
    token    bytea  NOT NULL,
    ordinal  bigint NOT NULL,
    image_id bytea  NOT NULL,
    digest   bytea  NOT NULL,
    created  bigint NOT NULL,
    PRIMARY KEY (owner, token, ordinal)
);

CREATE INDEX replays_created ON replays (created);

CREATE TABLE secrets (
    name  text  COLLATE "C" NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);
