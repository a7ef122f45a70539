-- +goose Up

-- Times are Unix milliseconds. Digests are 32 bytes, ids and variants are 16.

-- The renditions of presets; others are in caches only.
CREATE TABLE renditions (
    image_id    bytea   NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    preset      text    COLLATE "C" NOT NULL,
    variant     bytea   NOT NULL,
    source      bytea   NOT NULL,
    options     text    NOT NULL, -- canonical
    format      text    COLLATE "C" NOT NULL,
    width       bigint  NOT NULL,
    height      bigint  NOT NULL,
    pages       bigint  NOT NULL,
    bytes       bigint  NOT NULL,
    digest      bytea   NOT NULL,
    created     bigint  NOT NULL,
    first_bytes bigint  NOT NULL,
    encoder     text    NOT NULL, -- empty for the fast one
    note        text    NOT NULL, -- JSON, or empty
    PRIMARY KEY (image_id, preset)
);

CREATE INDEX renditions_variant ON renditions (variant);
CREATE INDEX renditions_digest ON renditions (digest);

-- Renditions of presets in other formats than their main one, for clients that
-- accept them. main is the variant of the rendition that they stand beside.
CREATE TABLE alternatives (
    image_id    bytea   NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    preset      text    COLLATE "C" NOT NULL,
    main        bytea   NOT NULL,
    variant     bytea   NOT NULL,
    source      bytea   NOT NULL,
    options     text    NOT NULL, -- canonical
    format      text    COLLATE "C" NOT NULL,
    width       bigint  NOT NULL,
    height      bigint  NOT NULL,
    pages       bigint  NOT NULL,
    bytes       bigint  NOT NULL,
    digest      bytea   NOT NULL,
    created     bigint  NOT NULL,
    first_bytes bigint  NOT NULL,
    encoder     text    NOT NULL,
    note        text    NOT NULL, -- JSON, or empty
    PRIMARY KEY (image_id, preset, format)
);

CREATE INDEX alternatives_main ON alternatives (main);
CREATE INDEX alternatives_variant ON alternatives (variant);
CREATE INDEX alternatives_digest ON alternatives (digest);

-- Objects at destinations. Rows outlive their images: that is how an object is
-- remembered that is still to be removed. The states are those of
-- catalog.PublicationState: 0 writing, 1 confirmed, 2 withdrawn.
CREATE TABLE publications (
    image_id    bytea    NOT NULL,
    preset      text     COLLATE "C" NOT NULL, -- empty for the source
    destination text     COLLATE "C" NOT NULL,
    owner       text     COLLATE "C" NOT NULL,
    name        text     COLLATE "C" NOT NULL,
    digest      bytea    NOT NULL,
    bytes       bigint   NOT NULL,
    state       smallint NOT NULL,
    updated     bigint   NOT NULL,
    PRIMARY KEY (image_id, preset, destination),
    UNIQUE (destination, name)
);

CREATE INDEX publications_digest ON publications (digest) WHERE state = 1;
CREATE INDEX publications_state ON publications (state, image_id, preset, destination);

-- What became of sources that were to be kept in a smaller form. Which forms lie
-- in the store is told by the store alone.
CREATE TABLE recompressions (
    digest bytea  NOT NULL PRIMARY KEY REFERENCES blobs (digest) ON DELETE CASCADE,
    bytes  bigint NOT NULL, -- of the smaller form; 0 where there is none
    reason text   NOT NULL, -- why the source stays as it is; empty where it does not
    tried  bigint NOT NULL
);
