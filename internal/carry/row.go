package carry

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// encode appends a row so that different rows give different bytes.
func encode(dst []byte, row stored.Row) []byte {
	for _, value := range row {
		switch v := value.(type) {
		case nil:
			dst = append(dst, 0)
		case int64:
			dst = binary.BigEndian.AppendUint64(append(dst, 1), uint64(v))
		case string:
			dst = append(binary.AppendUvarint(append(dst, 2), uint64(len(v))), v...)
		case []byte:
			dst = append(binary.AppendUvarint(append(dst, 3), uint64(len(v))), v...)
		}
	}
	return dst
}

// order compares the first columns of two rows.
func order(a, b stored.Row, columns int) int {
	for i := range columns {
		if c := compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compare(a, b any) int {
	switch a := a.(type) {
	case int64:
		b, _ := b.(int64)
		return cmp.Compare(a, b)
	case string:
		b, _ := b.(string)
		return strings.Compare(a, b)
	case []byte:
		b, _ := b.([]byte)
		return bytes.Compare(a, b)
	}
	return 0
}

// same tells whether two rows have the same values.
func same(a, b stored.Row) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || compare(a[i], b[i]) != 0 {
			return false
		}
	}
	return true
}

// sound makes texts valid UTF-8 without NUL, as not every database holds others.
// Only what people read can be such; in a primary key it is an error.
func (c *carrying) sound(t stored.Table, row stored.Row) error {
	for i, column := range t.Columns {
		text, ok := row[i].(string)
		if !ok || column.Kind != stored.Text || utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
			continue
		}
		if i < t.Key {
			return fault.New(fault.Invalid, "a row of the table %s has a %s that is not UTF-8, or has a NUL byte: %q", t.Name, column.Name, text)
		}
		row[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		c.altered[t.Name]++
	}
	return nil
}

// A batch gathers rows up to these bounds.
const (
	batchRows  = 5000
	batchBytes = 4 << 20
)

type batch struct {
	rows  []stored.Row
	bytes int
	send  func([]stored.Row) error
}

func newBatch(send func([]stored.Row) error) *batch { return &batch{send: send} }

func (b *batch) add(row stored.Row) error {
	b.rows = append(b.rows, row)
	for _, value := range row {
		switch v := value.(type) {
		case string:
			b.bytes += len(v)
		case []byte:
			b.bytes += len(v)
		default:
			b.bytes += 8
		}
	}
	if len(b.rows) < batchRows && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	err := b.send(b.rows)
	b.rows, b.bytes = b.rows[:0], 0
	return err
}
