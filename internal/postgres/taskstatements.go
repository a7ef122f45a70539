package postgres

import (
	"strings"
	"unicode"
)

// taskColumns are those that scanTask reads and taskArrays writes, in order.
const taskColumns = `id, owner, function, name, args, image, input, rank, lock_name, lock_limit, max_attempts, timeout,
	run_at, state, attempt, postponed, again, worker, lease, until, deadline, progress, message, error, result,
	output, output_bytes, output_type, created, started, finished, updated`

// movedColumns are those that claims and reports change; the rest of a row
// stays.
const movedColumns = `run_at, state, attempt, postponed, worker, lease, until, deadline, progress, message, error, result,
	output, output_bytes, output_type, started, finished, updated`

const (
	taskTypes = `$1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::integer[], $9::text[], $10::integer[],
	$11::integer[], $12::bigint[], $13::bigint[], $14::smallint[], $15::integer[], $16::integer[], $17::text[], $18::text[], $19::text[],
	$20::bigint[], $21::bigint[], $22::integer[], $23::text[], $24::text[], $25::text[], $26::bytea[], $27::bigint[], $28::text[],
	$29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[]`
	movedTypes = `$2::bigint[], $3::smallint[], $4::integer[], $5::integer[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::integer[],
	$11::text[], $12::text[], $13::text[], $14::bytea[], $15::bigint[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[]`
)

// Statements that write tasks, any number at once, in the order of their ids or
// names.
const (
	insertTasks = `INSERT INTO tasks (` + taskColumns + `)
		SELECT * FROM unnest(` + taskTypes + `) u(` + taskColumns + `)
		ORDER BY owner COLLATE "C", function COLLATE "C", name COLLATE "C", id`

	// What a transaction is going to change: tasks by their ids, and live ones
	// by their names. They are locked in the order of their ids.
	lockTasks = `SELECT ` + taskColumns + ` FROM tasks WHERE id IN (SELECT unnest($1::bytea[]) UNION
		SELECT t.id FROM unnest($2::text[], $3::text[], $4::text[]) n(owner, function, name)
		JOIN tasks t ON t.owner = n.owner AND t.function = n.function AND t.name = n.name AND t.name <> '' AND t.state <= 2)
		ORDER BY id FOR UPDATE`
	lockExpired = `SELECT ` + taskColumns + ` FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = 2 AND until <= $1 ORDER BY until LIMIT $2)
		AND state = 2 AND until <= $1 ORDER BY id FOR UPDATE`
	lockHeldBy = `SELECT ` + taskColumns + ` FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = 2 AND worker = $1 LIMIT $2)
		AND state = 2 AND worker = $1 ORDER BY id FOR UPDATE`

	makeDue = `WITH due AS (SELECT id FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = 0 AND run_at <= $1 ORDER BY run_at LIMIT $2)
			AND state = 0 AND run_at <= $1 ORDER BY id FOR UPDATE)
		UPDATE tasks t SET state = 1, updated = $1 FROM due WHERE t.id = due.id RETURNING t.id, t.function`
	clampLeases = `UPDATE tasks SET until = least(until, $1), deadline = least(deadline, $2) WHERE state = 2 AND (until > $1 OR deadline > $2)`
	pruneTasks  = `DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = $1 AND state > 2 AND finished < $2
		ORDER BY finished LIMIT $3 FOR UPDATE SKIP LOCKED)`

	forgetFunctions  = `DELETE FROM task_functions WHERE asked < $1`
	announceFunction = `INSERT INTO task_functions (function, asked) SELECT $1, $2
		WHERE EXISTS (SELECT 1 FROM task_functions WHERE function = $1) OR (SELECT count(*) FROM task_functions) < $3
		ON CONFLICT (function) DO UPDATE SET asked = $2`
)

var (
	replaceTasks = `UPDATE tasks t SET (` + taskColumns + `) = (` + newValues(taskColumns) + `)
		FROM unnest(` + taskTypes + `) u(` + taskColumns + `) WHERE t.id = u.id`
	moveTasks = `UPDATE tasks t SET (` + movedColumns + `) = (` + newValues(movedColumns) + `)
		FROM unnest($1::bytea[], ` + movedTypes + `) u(id, ` + movedColumns + `) WHERE t.id = u.id`
)

// newValues names columns of the rows to write.
func newValues(columns string) string {
	return "u." + strings.Join(strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }), ", u.")
}

// Statements that read tasks.
const (
	selectTask          = `SELECT ` + taskColumns + ` FROM tasks WHERE id = $1`
	selectReady         = `SELECT EXISTS (SELECT 1 FROM unnest($1::text[]) f WHERE EXISTS (SELECT 1 FROM tasks WHERE state = 1 AND function = f))`
	selectUpcoming      = `SELECT coalesce((SELECT min(run_at) FROM tasks WHERE state = 0), 0), coalesce((SELECT min(until) FROM tasks WHERE state = 2), 0), ` + serverTime
	selectUnknownOutput = `SELECT d FROM unnest($1::bytea[]) WITH ORDINALITY u(d, n)
		WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE output = d AND output <> '') ORDER BY n`
	selectAnnounced = `SELECT function, asked FROM task_functions`
	// One part for each state, so that each has its index.
	selectCounts = `SELECT function, 0::smallint, count(*), min(run_at) FROM tasks WHERE state = 0 GROUP BY function
		UNION ALL SELECT function, 1::smallint, count(*), min(run_at) FROM tasks WHERE state = 1 GROUP BY function
		UNION ALL SELECT function, 2::smallint, count(*), min(run_at) FROM tasks WHERE state = 2 GROUP BY function
		UNION ALL SELECT function, 4::smallint, count(*), min(run_at) FROM tasks WHERE state = 4 GROUP BY function`
)
