package sqlite_test

import (
	"strings"
	"testing"

	"safelight/internal/sqlite"
)

// TestNoStatementScans checks that every statement finds its rows by an index.
func TestNoStatementScans(t *testing.T) {
	db := open(t, t.TempDir())
	for text, plan := range db.Plans(t) {
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "CONSTANT ROW") && !strings.HasPrefix(text, sqlite.PingText) && !strings.Contains(text, "FROM task_functions") {
				t.Errorf("%s\n  %s", text, strings.Join(plan, "\n  "))
				break
			}
		}
	}
}
