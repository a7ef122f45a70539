package cli

import (
	"strings"
	"testing"

	"safelight/internal/httpapi/nodeapi"
)

func TestNodeTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := nodeTable(&b, []nodeapi.Node{
		{Name: "a", Self: true, Role: "api", State: "ready", Heartbeat: 1.9, Address: "10.0.0.1:80", Host: "one", Cores: 8, Version: "v1"},
		{Name: "b", Role: "worker", State: "gone", Heartbeat: 3700, Address: "b:80", Host: "two\n", Cores: 16, Version: "v1", Tasks: map[string]int{"render": 2, "publish": 1}},
	}, 0)
	want := `NODE  ROLE    STATE  HEARTBEAT  ADDRESS      HOST  CORES  VERSION  TASKS
a *   api     ready  1s ago     10.0.0.1:80  one   8      v1
b     worker  gone   1h ago     b:80         two   16     v1       1 publish, 2 render
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}
