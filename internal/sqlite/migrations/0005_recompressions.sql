-- +goose Up

-- What became of sources that were to be kept in a smaller form. Which forms lie
-- in the store is told by the store alone.
CREATE TABLE recompressions (
    digest BLOB    NOT NULL PRIMARY KEY REFERENCES blobs (digest) ON DELETE CASCADE,
    bytes  INTEGER NOT NULL, -- of the smaller form; 0 where there is none
    reason TEXT    NOT NULL, -- why the source stays as it is; empty where it does not
    tried  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
