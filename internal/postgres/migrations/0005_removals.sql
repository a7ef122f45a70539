-- +goose Up

-- Bytes that a node is removing from the home store. Until that time, in Unix
-- milliseconds of this server's clock, nobody stores a row that refers to them.
CREATE TABLE removals (
    digest bytea  NOT NULL PRIMARY KEY,
    node   text   NOT NULL,
    until  bigint NOT NULL
);
