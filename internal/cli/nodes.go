package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"safelight/internal/client"
	"safelight/internal/httpapi/nodeapi"
)

type nodesCommand struct {
	connection `embed:""`
}

// Run lists the nodes.
func (c *nodesCommand) Run() error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Nodes(ctx)
		if err != nil {
			return err
		}
		for _, w := range list.Warnings {
			fmt.Fprintln(os.Stderr, "safelight:", w)
		}
		if !c.JSON {
			width, _ := terminal(os.Stdout)
			return nodeTable(os.Stdout, list.Nodes, width)
		}
		for _, n := range list.Nodes {
			if err := writeLine(n); err != nil {
				return err
			}
		}
		return nil
	})
}

// nodeTable writes nodes for people. The one that was asked has a star.
func nodeTable(w io.Writer, nodes []nodeapi.Node, width int) error {
	rows := [][]string{{"NODE", "ROLE", "STATE", "HEARTBEAT", "ADDRESS", "HOST", "CORES", "VERSION", "TASKS"}}
	for _, n := range nodes {
		name := plain(n.Name)
		if n.Self {
			name += " *"
		}
		var tasks []string
		for _, function := range slices.Sorted(maps.Keys(n.Tasks)) {
			tasks = append(tasks, fmt.Sprintf("%d %s", n.Tasks[function], plain(function)))
		}
		ago := age(time.Duration(n.Heartbeat*float64(time.Second))) + " ago"
		rows = append(rows, []string{name, n.Role, n.State, ago, plain(n.Address), plain(n.Host), fmt.Sprint(n.Cores), plain(n.Version), strings.Join(tasks, ", ")})
	}
	return columns(w, rows, width)
}
