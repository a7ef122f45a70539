package sqlite

// taskColumns are those that scanTask reads and taskRow writes, in order.
const taskColumns = `id, owner, function, name, args, image, input, rank, lock_name, lock_limit, max_attempts, timeout,
	run_at, state, attempt, postponed, again, worker, lease, until, deadline, progress, message, error, result,
	output, output_bytes, output_type, created, started, finished, updated`

// Texts of the writer's statements about tasks; they have their numbers in
// statements.go.
const (
	textInsertTask = `INSERT INTO tasks (` + taskColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	textReplaceTask = `UPDATE tasks SET (` + taskColumns + `) =
		(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?`
	// What a claim and a report change; the rest of the row stays.
	textMoveTask = `UPDATE tasks SET run_at = ?, state = ?, attempt = ?, postponed = ?, worker = ?, lease = ?, until = ?,
		deadline = ?, progress = ?, message = ?, error = ?, result = ?, output = ?, output_bytes = ?, output_type = ?,
		started = ?, finished = ?, updated = ? WHERE id = ?`

	textLoadTask = `SELECT ` + taskColumns + ` FROM tasks WHERE id = ?`
	textLiveTask = `SELECT ` + taskColumns + ` FROM tasks WHERE owner = ? AND function = ? AND name = ? AND name <> '' AND state <= 2`

	// A lane is what is alike for a claim: function, rank, owner and lock.
	textNextLane = `SELECT rank, owner, lock_name, lock_limit FROM tasks
		WHERE state = 1 AND function = ?1 AND (rank, owner, lock_name) >= (?2, ?3, ?4)
		ORDER BY rank, owner, lock_name, id LIMIT 1`
	textReadyTasks = `SELECT ` + taskColumns + ` FROM tasks
		WHERE state = 1 AND function = ? AND rank = ? AND owner = ? AND lock_name = ? ORDER BY id LIMIT ?`
	textReadyIDs = `SELECT id FROM tasks
		WHERE state = 1 AND function = ? AND rank = ? AND owner = ? AND lock_name = ? ORDER BY id LIMIT ?`
	textRunningOf   = `SELECT count(*) FROM tasks WHERE state = 2 AND function = ?`
	textRunningLock = `SELECT count(*) FROM tasks WHERE state = 2 AND owner = ? AND lock_name = ? AND lock_name <> ''`

	textMakeDue = `UPDATE tasks SET state = 1, updated = ?1 WHERE id IN
		(SELECT id FROM tasks WHERE state = 0 AND run_at <= ?1 ORDER BY run_at LIMIT ?2) RETURNING id, function`
	textExpired = `SELECT ` + taskColumns + ` FROM tasks WHERE state = 2 AND until <= ? ORDER BY until LIMIT ?`
	textHeldBy  = `SELECT ` + taskColumns + ` FROM tasks WHERE state = 2 AND worker = ? LIMIT ?`
	textClamp   = `UPDATE tasks SET until = min(until, ?1), deadline = min(deadline, ?2) WHERE state = 2 AND (until > ?1 OR deadline > ?2)`
	textPrune   = `DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE state = ? AND finished < ? ORDER BY finished LIMIT ?)`
	// What workers have made of an image goes with it.
	textDropOutputs     = `UPDATE tasks SET output = x'', output_bytes = 0, output_type = '' WHERE image = ? AND image <> x'' AND state > 2`
	textForgetFunctions = `DELETE FROM task_functions WHERE asked < ?`
	textAnnounce        = `INSERT INTO task_functions (function, asked) SELECT ?1, ?2
		WHERE EXISTS (SELECT 1 FROM task_functions WHERE function = ?1) OR (SELECT count(*) FROM task_functions) < ?3
		ON CONFLICT (function) DO UPDATE SET asked = ?2`
)

// Statements of the readers about tasks.
const (
	selectTask      = textLoadTask
	selectReady     = `SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 1 AND function = ?)`
	selectDue       = `SELECT min(run_at) FROM tasks WHERE state = 0`
	selectLease     = `SELECT min(until) FROM tasks WHERE state = 2`
	selectOutput    = `SELECT EXISTS (SELECT 1 FROM tasks WHERE output = ? AND output <> x'')`
	selectAnnounced = `SELECT function, asked FROM task_functions`
	selectCounts    = `SELECT function, state, count(*), min(run_at) FROM tasks WHERE state IN (0, 1, 2, 4) GROUP BY function, state`
)
