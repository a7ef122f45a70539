-- +goose Up

-- From where this database was filled, by safelight migrate; empty where it was
-- not. Times are Unix milliseconds.
CREATE TABLE carried (
    source   text   COLLATE "C" NOT NULL PRIMARY KEY, -- digest of the installation's secret
    started  bigint NOT NULL,
    finished bigint, -- NULL while rows may be missing: no server starts on them
    served   bigint  -- since when servers use it: nothing is carried here from then on
);
