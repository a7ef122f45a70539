package client

import (
	"context"
	"net/http"

	"safelight/internal/httpapi/nodeapi"
)

// Nodes lists the nodes that share the server's database.
func (c *Client) Nodes(ctx context.Context) (nodeapi.NodeList, error) {
	var list nodeapi.NodeList
	err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, &list)
	return list, err
}
