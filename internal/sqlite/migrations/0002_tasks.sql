-- +goose Up

-- Times are Unix milliseconds, 0 is never; texts and blobs are empty where
-- there is nothing. The states are those of task.State: 0 scheduled, 1 ready,
-- 2 running, 3 done, 4 dead, 5 cancelled.
CREATE TABLE tasks (
    id            BLOB    NOT NULL PRIMARY KEY,
    owner         TEXT    NOT NULL,
    function      TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    args          TEXT    NOT NULL, -- JSON
    image         BLOB    NOT NULL, -- its id; the task may outlive it
    input         TEXT    NOT NULL,
    rank          INTEGER NOT NULL, -- the priority, negated: lower goes first
    lock_name     TEXT    NOT NULL,
    lock_limit    INTEGER NOT NULL,
    max_attempts  INTEGER NOT NULL,
    timeout       INTEGER NOT NULL, -- milliseconds
    run_at        INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    postponed     INTEGER NOT NULL,
    again         TEXT    NOT NULL, -- JSON of what was submitted while it ran
    worker        TEXT    NOT NULL,
    lease         TEXT    NOT NULL,
    until         INTEGER NOT NULL,
    deadline      INTEGER NOT NULL,
    progress      INTEGER NOT NULL,
    message       TEXT    NOT NULL,
    error         TEXT    NOT NULL,
    result        TEXT    NOT NULL, -- JSON
    output        BLOB    NOT NULL, -- digest
    output_bytes  INTEGER NOT NULL,
    output_type   TEXT    NOT NULL,
    created       INTEGER NOT NULL,
    started       INTEGER NOT NULL,
    finished      INTEGER NOT NULL,
    updated       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each step of a claim is a seek in this index; finished tasks are not in it.
CREATE INDEX tasks_ready ON tasks (function, rank, owner, lock_name, id) WHERE state = 1;
CREATE INDEX tasks_due ON tasks (run_at) WHERE state = 0;
CREATE INDEX tasks_leases ON tasks (until) WHERE state = 2;
CREATE INDEX tasks_running ON tasks (function) WHERE state = 2;
CREATE INDEX tasks_locks ON tasks (owner, lock_name) WHERE state = 2 AND lock_name <> '';
CREATE UNIQUE INDEX tasks_names ON tasks (owner, function, name) WHERE name <> '' AND state <= 2;
CREATE INDEX tasks_states ON tasks (state, id);
CREATE INDEX tasks_images ON tasks (image, id) WHERE image <> x'';
CREATE INDEX tasks_finished ON tasks (state, finished) WHERE state > 2;
CREATE INDEX tasks_outputs ON tasks (output) WHERE output <> x'';

-- Functions that workers have asked for.
CREATE TABLE task_functions (
    function TEXT    NOT NULL PRIMARY KEY,
    asked    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
