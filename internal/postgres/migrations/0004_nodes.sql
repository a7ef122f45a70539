-- +goose Up

-- Nodes that share the database. Times are this server's own, so that the clocks
-- of nodes don't count. instance is random for each process, which holds an
-- advisory lock of it for as long as it lives.
CREATE TABLE nodes (
    name     text        COLLATE "C" NOT NULL PRIMARY KEY,
    instance text        NOT NULL,
    address  text        NOT NULL,
    role     text        NOT NULL,
    version  text        NOT NULL,
    host     text        NOT NULL,
    cores    integer     NOT NULL,
    state    text        NOT NULL,
    started  timestamptz NOT NULL,
    seen     timestamptz NOT NULL
) WITH (fillfactor = 50);
