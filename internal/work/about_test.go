package work

import (
	"slices"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// TestAbout names the image of a task only where it has one.
func TestAbout(t *testing.T) {
	t.Parallel()
	for image, want := range map[asset.ID]bool{{}: false, {1}: true} {
		if attrs := about(task.Task{Image: image}); slices.Contains(attrs, any("image")) != want {
			t.Errorf("the log says %v", attrs)
		}
	}
}
