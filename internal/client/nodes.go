package client

import (
	"context"
	"net/http"

	"safelight/internal/httpapi/nodeapi"
)

// Nodes lists the nodes that share the server's database.
func (c *Client) Nodes(ctx context.Context) (nodeapi.List, error) {
	var list nodeapi.List
	err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, &list)
	return list, err
}
