package sqlite

import (
	"database/sql"
	"encoding/json"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func idBytes(id asset.ID) []byte {
	if id == (asset.ID{}) {
		return []byte{}
	}
	return id[:]
}

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

// storedNew is a task.New as it is stored: an id in its JSON is for clients,
// and can't be read back without the mint; and arguments stay as they came.
type storedNew struct {
	task.New
	Image []byte `json:"image,omitempty"`
	Args  string `json:"args"`
}

func encodeNew(n *task.New) (string, error) {
	if n == nil {
		return "", nil
	}
	text, err := json.Marshal(storedNew{New: *n, Image: idBytes(n.Image), Args: string(n.Args)})
	if err != nil {
		return "", fault.Wrap(fault.Internal, err, "a task can't be encoded")
	}
	return string(text), nil
}

func decodeNew(text []byte, owner string) (*task.New, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var s storedNew
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the database is damaged")
	}
	s.New.Owner, s.New.Args = owner, json.RawMessage(s.Args)
	copy(s.New.Image[:], s.Image)
	return &s.New, nil
}

// taskRow are the values of taskColumns.
func taskRow(k *task.Task) ([]any, error) {
	again, err := encodeNew(k.Again)
	if err != nil {
		return nil, err
	}
	output, outputBytes, outputType := outputRow(k.Output)
	return []any{
		k.ID[:], k.Owner, k.Function, k.Name, string(k.Args), idBytes(k.Image), k.Input,
		-k.Priority, k.Lock.Name, k.Lock.Limit, k.MaxAttempts, k.Timeout.Milliseconds(),
		toMillis(k.RunAt), k.State, k.Attempt, k.Postponed, again, k.Worker, k.Lease, toMillis(k.Until), toMillis(k.Deadline),
		k.Progress, k.Message, k.Error, string(k.Result), output, outputBytes, outputType,
		toMillis(k.Created), toMillis(k.Started), toMillis(k.Finished), toMillis(k.Updated),
	}, nil
}

// moveTask stores what claims and reports change.
func (t *tx) moveTask(k *task.Task) error {
	output, outputBytes, outputType := outputRow(k.Output)
	_, err := t.exec(sqlMoveTask, toMillis(k.RunAt), k.State, k.Attempt, k.Postponed, k.Worker, k.Lease, toMillis(k.Until),
		toMillis(k.Deadline), k.Progress, k.Message, k.Error, string(k.Result), output, outputBytes, outputType,
		toMillis(k.Started), toMillis(k.Finished), toMillis(k.Updated), k.ID[:])
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
	k.RunAt, k.Until, k.Deadline = fromMillis(runAt), fromMillis(until), fromMillis(deadline)
	k.Created, k.Started, k.Finished, k.Updated = fromMillis(created), fromMillis(started), fromMillis(finished), fromMillis(updated)
	if len(result) > 0 {
		k.Result = result
	}
	if k.Again, err = decodeNew(again, k.Owner); err != nil {
		return task.Task{}, err
	}
	if len(output) > 0 {
		k.Output = &task.Output{Bytes: outputBytes, Type: outputType}
		copy(k.Output.Digest[:], output)
	}
	return k, nil
}
