package postgres

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/catalog/stored"
	"safelight/internal/task"
)

// column is the values of one column, as an array of the database.
func column[T any](tasks []*task.Task, value func(*task.Task) T) []T {
	all := make([]T, len(tasks))
	for i, k := range tasks {
		all[i] = value(k)
	}
	return all
}

// taskArrays are the values of taskColumns.
func taskArrays(tasks []*task.Task) ([]any, error) {
	again := make([]string, len(tasks))
	for i, k := range tasks {
		var err error
		if again[i], err = stored.New(k.Again); err != nil {
			return nil, err
		}
	}
	moved := movedArrays(tasks)
	arrays := []any{
		moved[0],
		column(tasks, func(k *task.Task) string { return k.Owner }),
		column(tasks, func(k *task.Task) string { return k.Function }),
		column(tasks, func(k *task.Task) string { return k.Name }),
		column(tasks, func(k *task.Task) string { return string(k.Args) }),
		column(tasks, func(k *task.Task) []byte { return stored.ID(k.Image) }),
		column(tasks, func(k *task.Task) string { return k.Input }),
		column(tasks, func(k *task.Task) int32 { return int32(-k.Priority) }),
		column(tasks, func(k *task.Task) string { return k.Lock.Name }),
		column(tasks, func(k *task.Task) int32 { return int32(k.Lock.Limit) }),
		column(tasks, func(k *task.Task) int32 { return int32(k.MaxAttempts) }),
		column(tasks, func(k *task.Task) int64 { return k.Timeout.Milliseconds() }),
	}
	arrays = append(arrays, moved[1:5]...) // run_at to postponed
	arrays = append(arrays, again)
	arrays = append(arrays, moved[5:16]...) // worker to output_type
	arrays = append(arrays, column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Created) }))
	return append(arrays, moved[16:]...), nil
}

// movedArrays are the ids and the values of movedColumns.
func movedArrays(tasks []*task.Task) []any {
	return []any{
		column(tasks, func(k *task.Task) []byte { return k.ID[:] }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.RunAt) }),
		column(tasks, func(k *task.Task) int16 { return int16(k.State) }),
		column(tasks, func(k *task.Task) int32 { return int32(k.Attempt) }),
		column(tasks, func(k *task.Task) int32 { return int32(k.Postponed) }),
		column(tasks, func(k *task.Task) string { return k.Worker }),
		column(tasks, func(k *task.Task) string { return k.Lease }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Until) }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Deadline) }),
		column(tasks, func(k *task.Task) int32 { return int32(k.Progress) }),
		column(tasks, func(k *task.Task) string { return k.Message }),
		column(tasks, func(k *task.Task) string { return k.Error }),
		column(tasks, func(k *task.Task) string { return string(k.Result) }),
		column(tasks, func(k *task.Task) []byte { return outputOf(k).Digest[:] }),
		column(tasks, func(k *task.Task) int64 { return outputOf(k).Bytes }),
		column(tasks, func(k *task.Task) string { return outputOf(k).Type }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Started) }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Finished) }),
		column(tasks, func(k *task.Task) int64 { return stored.Millis(k.Updated) }),
	}
}

// storedOutput is a task's output as columns; without one they are empty.
type storedOutput struct {
	Digest []byte
	Bytes  int64
	Type   string
}

func outputOf(k *task.Task) storedOutput {
	if k.Output == nil {
		return storedOutput{Digest: []byte{}}
	}
	return storedOutput{k.Output.Digest[:], k.Output.Bytes, k.Output.Type}
}

// pageBytes bounds the arguments and results of the tasks of one answer; at least
// one task is given whatever its size.
const pageBytes = 4 << 20

// collectTasks reads at most limit rows, and fewer where they are large. more
// tells that there are others.
func collectTasks(rows pgx.Rows, limit int) (found []task.Task, more bool, err error) {
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
		id, image, output                                []byte
		args, again, result, outputType                  string
		timeout, runAt, until, deadline                  int64
		created, started, finished, updated, outputBytes int64
	)
	err := s.Scan(&id, &k.Owner, &k.Function, &k.Name, &args, &image, &k.Input, &k.Priority, &k.Lock.Name, &k.Lock.Limit,
		&k.MaxAttempts, &timeout, &runAt, &k.State, &k.Attempt, &k.Postponed, &again, &k.Worker, &k.Lease, &until, &deadline,
		&k.Progress, &k.Message, &k.Error, &result, &output, &outputBytes, &outputType, &created, &started, &finished, &updated)
	if err != nil {
		return task.Task{}, err
	}
	copy(k.ID[:], id)
	copy(k.Image[:], image)
	k.Priority, k.Args, k.Timeout = -k.Priority, json.RawMessage(args), time.Duration(timeout)*time.Millisecond
	k.RunAt, k.Until, k.Deadline = stored.TimeOrZero(runAt), stored.TimeOrZero(until), stored.TimeOrZero(deadline)
	k.Created, k.Started, k.Finished, k.Updated = stored.TimeOrZero(created), stored.TimeOrZero(started), stored.TimeOrZero(finished), stored.TimeOrZero(updated)
	if result != "" {
		k.Result = json.RawMessage(result)
	}
	if k.Again, err = stored.ParseNew([]byte(again), k.Owner); err != nil {
		return task.Task{}, err
	}
	if len(output) > 0 {
		k.Output = &task.Output{Bytes: outputBytes, Type: outputType}
		copy(k.Output.Digest[:], output)
	}
	return k, nil
}
