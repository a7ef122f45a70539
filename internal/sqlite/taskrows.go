package sqlite

import (
	"database/sql"
	"time"

	"safelight/internal/catalog/stored"
	"safelight/internal/task"
)

func outputRow(o *task.Output) (digest []byte, bytes int64, media string) {
	if o == nil {
		return []byte{}, 0, ""
	}
	return o.Digest[:], o.Bytes, o.Type
}

// insertTask stores a new row, and replaceTask all of one that exists.
func (t *tx) insertTask(k *task.Task) error {
	row, err := taskRow(k)
	if err == nil {
		_, err = t.exec(sqlInsertTask, row...)
	}
	return err
}

func (t *tx) replaceTask(k *task.Task) error {
	row, err := taskRow(k)
	if err == nil {
		_, err = t.exec(sqlReplaceTask, append(row, k.ID[:])...)
	}
	return err
}

// taskRow are the values of taskColumns.
func taskRow(k *task.Task) ([]any, error) {
	again, err := stored.New(k.Again)
	if err != nil {
		return nil, err
	}
	output, outputBytes, outputType := outputRow(k.Output)
	return []any{
		k.ID[:], k.Owner, k.Function, k.Name, string(k.Args), stored.ID(k.Image), k.Input,
		-k.Priority, k.Lock.Name, k.Lock.Limit, k.MaxAttempts, k.Timeout.Milliseconds(),
		stored.Millis(k.RunAt), k.State, k.Attempt, k.Postponed, again, k.Worker, k.Lease, stored.Millis(k.Until), stored.Millis(k.Deadline),
		k.Progress, k.Message, k.Error, string(k.Result), output, outputBytes, outputType,
		stored.Millis(k.Created), stored.Millis(k.Started), stored.Millis(k.Finished), stored.Millis(k.Updated),
	}, nil
}

// moveTask stores what claims and reports change.
func (t *tx) moveTask(k *task.Task) error {
	output, outputBytes, outputType := outputRow(k.Output)
	_, err := t.exec(sqlMoveTask, stored.Millis(k.RunAt), k.State, k.Attempt, k.Postponed, k.Worker, k.Lease, stored.Millis(k.Until),
		stored.Millis(k.Deadline), k.Progress, k.Message, k.Error, string(k.Result), output, outputBytes, outputType,
		stored.Millis(k.Started), stored.Millis(k.Finished), stored.Millis(k.Updated), k.ID[:])
	return err
}

// tasks reads whole rows, and fewer than there are where they are large.
func (t *tx) tasks(statement int, args ...any) ([]task.Task, error) {
	rows, err := t.rows(statement, args...)
	if err != nil {
		return nil, err
	}
	found, _, err := collectTasks(rows, task.MaxBatch)
	return found, err
}

// pageBytes bounds the arguments and results of the tasks of one answer; at least
// one task is given whatever its size.
const pageBytes = 4 << 20

// collectTasks reads at most limit rows, and fewer where they are large. more
// tells that there are others.
func collectTasks(rows *sql.Rows, limit int) (found []task.Task, more bool, err error) {
	defer rows.Close()
	size := 0
	for rows.Next() {
		if len(found) == limit || size > pageBytes {
			return found, true, nil
		}
		k, err := scanTask(rows)
		if err != nil {
			return nil, false, err
		}
		size += len(k.Args) + len(k.Result) + len(k.Error)
		found = append(found, k)
	}
	return found, false, rows.Err()
}

// scanTask reads a row of taskColumns.
func scanTask(s scanner) (task.Task, error) {
	var (
		k                                                task.Task
		id, image, args, again, result, output           []byte
		timeout, runAt, until, deadline                  int64
		created, started, finished, updated, outputBytes int64
		outputType                                       string
	)
	err := s.Scan(&id, &k.Owner, &k.Function, &k.Name, &args, &image, &k.Input, &k.Priority, &k.Lock.Name, &k.Lock.Limit,
		&k.MaxAttempts, &timeout, &runAt, &k.State, &k.Attempt, &k.Postponed, &again, &k.Worker, &k.Lease, &until, &deadline,
		&k.Progress, &k.Message, &k.Error, &result, &output, &outputBytes, &outputType, &created, &started, &finished, &updated)
	if err != nil {
		return task.Task{}, err
	}
	copy(k.ID[:], id)
	copy(k.Image[:], image)
	k.Priority, k.Args, k.Timeout = -k.Priority, args, time.Duration(timeout)*time.Millisecond
	k.RunAt, k.Until, k.Deadline = stored.TimeOrZero(runAt), stored.TimeOrZero(until), stored.TimeOrZero(deadline)
	k.Created, k.Started, k.Finished, k.Updated = stored.TimeOrZero(created), stored.TimeOrZero(started), stored.TimeOrZero(finished), stored.TimeOrZero(updated)
	if len(result) > 0 {
		k.Result = result
	}
	if k.Again, err = stored.ParseNew(again, k.Owner); err != nil {
		return task.Task{}, err
	}
	if len(output) > 0 {
		k.Output = &task.Output{Bytes: outputBytes, Type: outputType}
		copy(k.Output.Digest[:], output)
	}
	return k, nil
}
