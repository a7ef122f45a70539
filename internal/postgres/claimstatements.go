package postgres

// Limits that span nodes hold because claims count under advisory locks: one for
// each function that has a limit, then one for all counted locks. A claim takes
// the former in their order and the latter after them.
const (
	lockFunction = `SELECT pg_advisory_xact_lock(hashtextextended($1, 2))`
	lockCounted  = `SELECT pg_advisory_xact_lock($1)`

	countedLock int64 = 0x5afe_1197_0003
)

const (
	runningOf    = `SELECT f, (SELECT count(*) FROM tasks WHERE state = 2 AND function = f) FROM unnest($1::text[]) f`
	runningLocks = `SELECT (SELECT count(*) FROM tasks t WHERE t.state = 2 AND t.owner = l.owner AND t.lock_name = l.lock_name AND t.lock_name <> '')
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY l(owner, lock_name, n) ORDER BY l.n`

	// A lane is what is alike for a claim: function, rank, owner and lock. This
	// goes from lane to lane by seeks in tasks_ready, at the lowest rank that is
	// not below a given one, from a place in the order of owners and locks to
	// before another. Lanes whose lock is full are passed over; $7 and $8 bound
	// the lanes that are found and those that are passed over. The last of the
	// latter is given too, so that the next claim goes on behind it; where there
	// is no lane, the rank alone.
	claimLanes = `WITH RECURSIVE top AS (
			SELECT s.*, (SELECT t.rank FROM tasks t WHERE t.state = 1 AND t.function = s.function AND t.rank >= s.least ORDER BY t.rank LIMIT 1) AS rank
			FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
				s(function, least, from_owner, from_lock, end_owner, end_lock, span)
		), lanes AS (
			SELECT p.function, p.rank, p.span, p.end_owner, p.end_lock, l.owner, l.lock_name, l.lock_limit,
				(l.room > 0)::integer AS found, (l.room <= 0)::integer AS passed, l.room
			FROM top p CROSS JOIN LATERAL (` + laneAt + `>= (p.from_owner, p.from_lock)` + laneEnd + `) l
			UNION ALL
			SELECT p.function, p.rank, p.span, p.end_owner, p.end_lock, l.owner, l.lock_name, l.lock_limit,
				p.found + (l.room > 0)::integer, p.passed + (l.room <= 0)::integer, l.room
			FROM lanes p CROSS JOIN LATERAL (` + laneAt + `>= (p.owner, p.lock_name || E'\x01')` + laneEnd + `) l
			WHERE p.found < $7 AND p.passed < $8
		)
		SELECT p.function, p.rank, l.owner, l.lock_name, l.lock_limit, l.room FROM top p
			LEFT JOIN lanes l ON l.span = p.span AND (l.room > 0 OR l.passed = $8)
		WHERE p.rank IS NOT NULL ORDER BY p.span, l.owner, l.lock_name`
	laneAt = `SELECT n.owner, n.lock_name, n.lock_limit, CASE WHEN n.lock_name = '' THEN 1 ELSE n.lock_limit -
				(SELECT count(*) FROM tasks r WHERE r.state = 2 AND r.owner = n.owner AND r.lock_name = n.lock_name AND r.lock_name <> '') END AS room
			FROM (SELECT t.owner, t.lock_name, t.lock_limit FROM tasks t WHERE t.state = 1 AND t.function = p.function AND t.rank = p.rank
				AND (t.owner, t.lock_name) `
	laneEnd = ` AND (t.owner, t.lock_name) < (p.end_owner, p.end_lock) ORDER BY t.owner, t.lock_name, t.id LIMIT 1) n`

	// The first tasks of lanes behind an id; tasks that another claim is looking
	// at are passed over.
	claimTasks = `SELECT l.n, ` + laneTask + taskColumns + firstOfLane + ` FOR UPDATE SKIP LOCKED) t ORDER BY l.n, t.id`
	claimIDs   = `SELECT l.n, ` + laneTask + `id` + firstOfLane + `) t ORDER BY t.id`
	laneTask   = `t.* FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bytea[], $6::integer[])
			WITH ORDINALITY l(function, rank, owner, lock_name, after, most, n)
		CROSS JOIN LATERAL (SELECT `
	firstOfLane = ` FROM tasks k WHERE k.state = 1 AND k.function = l.function AND k.rank = l.rank AND k.owner = l.owner AND k.lock_name = l.lock_name
			AND k.id > l.after ORDER BY k.id LIMIT l.most`
)
