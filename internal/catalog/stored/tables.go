package stored

// Kind is what a column holds, in the words of both databases.
type Kind uint8

// The kinds. Times are integers.
const (
	Integer Kind = iota // int64
	Text                // string
	Bytes               // []byte
	Flag                // int64, 0 or 1; a boolean where the database has them
	Token               // string of any bytes; bytes in PostgreSQL, whose text must be UTF-8
)

// Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
	// Optional ones may be NULL, which is nil.
	Optional bool
}

// Table is one that every database of ours has, with the same columns.
type Table struct {
	Name string
	// Columns begin with those of the primary key.
	Columns []Column
	// Key is how many columns the primary key has.
	Key int
	// Parent tells that rows of other tables refer to this one's.
	Parent bool
}

// Row has a table's columns: int64, string, []byte or nil, by their kinds.
type Row []any

// Tables lists all tables; those that others refer to come before them.
func Tables() []Table {
	return []Table{
		{"secrets", columns("name", Text, "value", Bytes), 1, false},
		{"blobs", append(columns("digest", Bytes, "bytes", Integer, "format", Text, "header", Text, "created", Integer),
			Column{"released_at", Integer, true}), 1, true},
		{"placements", columns("digest", Bytes, "store", Text, "state", Text, "created", Integer), 2, false},
		{"recompressions", columns("digest", Bytes, "bytes", Integer, "reason", Text, "tried", Integer), 1, false},
		{"images", append(columns("id", Bytes, "owner", Text, "digest", Bytes, "name", Text, "category", Text, "created", Integer,
			"verified", Flag, "blurhash", Text, "phash", Integer), Column{"tags", Text, true}, Column{"thumbhash", Bytes, true}), 1, true},
		{"keys", columns("owner", Text, "key", Text, "image_id", Bytes), 2, false},
		{"image_tags", columns("owner", Text, "tag", Text, "image_id", Bytes), 3, false},
		{"replays", columns("owner", Text, "token", Token, "ordinal", Integer, "image_id", Bytes, "digest", Bytes, "created", Integer), 3, false},
		{"renditions", append(columns("image_id", Bytes, "preset", Text, "variant", Bytes), rendered()...), 2, false},
		{"alternatives", append(columns("image_id", Bytes, "preset", Text, "format", Text, "main", Bytes, "variant", Bytes), without(rendered(), "format")...), 3, false},
		{"publications", columns("image_id", Bytes, "preset", Text, "destination", Text, "owner", Text, "name", Text, "digest", Bytes,
			"bytes", Integer, "state", Integer, "updated", Integer), 3, false},
		{"tasks", taskColumns(), 1, false},
		{"task_functions", columns("function", Text, "asked", Integer), 1, false},
	}
}

func rendered() []Column {
	return columns("source", Bytes, "options", Text, "format", Text, "width", Integer, "height", Integer, "pages", Integer,
		"bytes", Integer, "digest", Bytes, "created", Integer, "first_bytes", Integer, "encoder", Text, "note", Text)
}

func taskColumns() []Column {
	return columns("id", Bytes, "owner", Text, "function", Text, "name", Text, "args", Text, "image", Bytes, "input", Text,
		"rank", Integer, "lock_name", Text, "lock_limit", Integer, "max_attempts", Integer, "timeout", Integer, "run_at", Integer,
		"state", Integer, "attempt", Integer, "postponed", Integer, "again", Text, "worker", Text, "lease", Text, "until", Integer,
		"deadline", Integer, "progress", Integer, "message", Text, "error", Text, "result", Text, "output", Bytes,
		"output_bytes", Integer, "output_type", Text, "created", Integer, "started", Integer, "finished", Integer, "updated", Integer)
}

// columns makes columns of pairs of a name and a kind.
func columns(pairs ...any) []Column {
	list := make([]Column, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, Column{Name: pairs[i].(string), Kind: pairs[i+1].(Kind)})
	}
	return list
}

func without(list []Column, name string) []Column {
	var rest []Column
	for _, c := range list {
		if c.Name != name {
			rest = append(rest, c)
		}
	}
	return rest
}
