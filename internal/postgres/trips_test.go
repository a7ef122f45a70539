package postgres_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/postgres"
)

// counted stands between a client and the server, and counts how often the
// client waits for the server: each time it sends after it has received.
type counted struct{ trips atomic.Int64 }

func (c *counted) listen(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); open.Wait() })
	open.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			var answered atomic.Bool
			open.Go(func() {
				c.pass(server, client, func() {
					if answered.Swap(false) {
						c.trips.Add(1)
					}
				})
			})
			open.Go(func() { c.pass(client, server, func() { answered.Store(true) }) })
		}
	})
	return ln.Addr().String()
}

func (c *counted) pass(to, from net.Conn, each func()) {
	defer to.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			each()
			if _, err := io.Copy(to, bytes.NewReader(buf[:n])); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestRoundTrips: a change takes as many round trips with 2,000 images as with
// one.
func TestRoundTrips(t *testing.T) {
	cfg := config(fresh(t))
	var c counted
	at := strings.SplitN(strings.SplitN(string(cfg.URL), "@", 2)[1], "/", 2)[0]
	cfg.URL = postgres.URL(strings.Replace(string(cfg.URL), at, c.listen(t, at), 1))
	cfg.MaxConns, cfg.MinConns = 1, 1
	db := open(t, cfg) // without a queue, which would tell others meanwhile
	commit := func(n int) int64 {
		t.Helper()
		var change catalog.Change
		for i := range n {
			change.Images = append(change.Images, catalogtest.NewImage("main", uint64(i), fmt.Sprintf("%d/%d", n, i), fmt.Sprintf("%d/%d again", n, i)))
		}
		before := c.trips.Load()
		if _, err := db.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		return c.trips.Load() - before
	}
	commit(2) // statements are prepared
	commit(3)
	one, many := commit(1), commit(2000)
	if one > 2 || many > 4 { // what is large is sent in parts
		t.Errorf("a change of one image took %d round trips, one of 2,000 %d", one, many)
	}
}
