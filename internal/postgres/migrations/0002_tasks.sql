-- +goose Up

-- Times are Unix milliseconds, 0 is never; texts and bytes are empty where
-- there is nothing. JSON is text, so that it comes back as it was sent. The
-- states are those of task.State: 0 scheduled, 1 ready, 2 running, 3 done,
-- 4 dead, 5 cancelled.
--
-- Rows change a few times in their short lives, so the table is vacuumed after
-- a small part of it has changed, and statistics are kept fresh.
CREATE TABLE tasks (
    id            bytea    NOT NULL PRIMARY KEY,
    owner         text     COLLATE "C" NOT NULL,
    function      text     COLLATE "C" NOT NULL,
    name          text     COLLATE "C" NOT NULL,
    args          text     NOT NULL, -- JSON
    image         bytea    NOT NULL, -- its id; the task may outlive it
    input         text     NOT NULL,
    rank          integer  NOT NULL, -- the priority, negated: lower goes first
    lock_name     text     COLLATE "C" NOT NULL,
    lock_limit    integer  NOT NULL,
    max_attempts  integer  NOT NULL,
    timeout       bigint   NOT NULL, -- milliseconds
    run_at        bigint   NOT NULL,
    state         smallint NOT NULL,
    attempt       integer  NOT NULL,
    postponed     integer  NOT NULL,
    again         text     NOT NULL, -- JSON of what was submitted while it ran
    worker        text     COLLATE "C" NOT NULL,
    lease         text     NOT NULL,
    until         bigint   NOT NULL,
    deadline      bigint   NOT NULL,
    progress      integer  NOT NULL,
    message       text     NOT NULL,
    error         text     NOT NULL,
    result        text     NOT NULL, -- JSON
    output        bytea    NOT NULL, -- digest
    output_bytes  bigint   NOT NULL,
    output_type   text     NOT NULL,
    created       bigint   NOT NULL,
    started       bigint   NOT NULL,
    finished      bigint   NOT NULL,
    updated       bigint   NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02);

-- Each step of a claim is a seek in this index; finished tasks are not in it.
CREATE INDEX tasks_ready ON tasks (function, rank, owner, lock_name, id) WHERE state = 1;
CREATE INDEX tasks_due ON tasks (run_at) WHERE state = 0;
CREATE INDEX tasks_leases ON tasks (until) WHERE state = 2;
CREATE INDEX tasks_running ON tasks (function) WHERE state = 2;
CREATE INDEX tasks_held ON tasks (worker) WHERE state = 2;
CREATE INDEX tasks_locks ON tasks (owner, lock_name) WHERE state = 2 AND lock_name <> '';
CREATE UNIQUE INDEX tasks_names ON tasks (owner, function, name) WHERE name <> '' AND state <= 2;
CREATE INDEX tasks_states ON tasks (state, id);
CREATE INDEX tasks_images ON tasks (image, id) WHERE image <> '';
CREATE INDEX tasks_finished ON tasks (state, finished) WHERE state > 2;
CREATE INDEX tasks_dead ON tasks (function) WHERE state = 4;
CREATE INDEX tasks_outputs ON tasks (output) WHERE output <> '';

-- Functions that workers have asked for.
CREATE TABLE task_functions (
    function text   COLLATE "C" NOT NULL PRIMARY KEY,
    asked    bigint NOT NULL
);
