-- +goose Up

-- Renditions of presets in other formats than their main one, for clients that
-- accept them. main is the variant of the rendition that they stand beside.
CREATE TABLE alternatives (
    image_id    BLOB    NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    preset      TEXT    NOT NULL,
    main        BLOB    NOT NULL,
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
    encoder     TEXT    NOT NULL,
    note        TEXT    NOT NULL, -- JSON, or empty
    PRIMARY KEY (image_id, preset, format)
) STRICT, WITHOUT ROWID;

CREATE INDEX alternatives_main ON alternatives (main);
CREATE INDEX alternatives_variant ON alternatives (variant);
CREATE INDEX alternatives_digest ON alternatives (digest);
