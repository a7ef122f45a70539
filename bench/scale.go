package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"safelight/internal/cdkblob/s3test"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/redis/redistest"
)

// scale sets what an upload and a cold render cost a node over PostgreSQL, S3 and
// Redis against one with SQLite and its own disk, and what they cost two nodes against
// what they cost one: capacity adds up as far as the latter is 1. What the
// database and the bucket spend is not counted, as they are other machines.
func (b *bench) scale() ([]row, error) {
	e, err := b.engines()
	if err != nil {
		return nil, err
	}
	defer e.close()
	picture, err := photo(2000, 1500, 85, 1)
	if err != nil {
		return nil, err
	}
	alone, err := b.safelight("SAFELIGHT_INGEST_VERIFY=header")
	if err != nil {
		return nil, err
	}
	one, err := b.cluster(e, "one", 1)
	if err != nil {
		return nil, err
	}
	two, err := b.cluster(e, "two", 2)
	if err != nil {
		return nil, err
	}
	sides := [][]*process{{alone}, one, two}
	uploads, renders := make([][]float64, len(sides)), make([][]float64, len(sides))
	for round := range b.rounds + 1 {
		for i, nodes := range sides {
			upload, render, err := scaleRound(nodes, picture, round)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				uploads[i], renders[i] = append(uploads[i], upload), append(renders[i], render)
			}
		}
	}
	b.stopAll()
	return []row{
		paired("upload of 1 MB: CPU a file, PostgreSQL, S3 and Redis against SQLite and disk", "ms", 1e3, uploads[1], uploads[0], ""),
		paired("cold 512 px JPEG of 3 megapixels: CPU a render, the same", "ms", 1e3, renders[1], renders[0], ""),
		paired("upload of 1 MB: CPU a file, two nodes against one", "ms", 1e3, uploads[2], uploads[1], "≤ 1.05"),
		paired("cold 512 px JPEG of 3 megapixels: CPU a render, two nodes against one", "ms", 1e3, renders[2], renders[1], "≤ 1.05"),
	}, nil
}

// engines are what nodes share.
type engines struct {
	pg    *pgtest.Server
	s3    *s3test.Server
	redis *redistest.Server
}

func (b *bench) engines() (*engines, error) {
	pg, err := pgtest.Start()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "s3")
	if err := os.MkdirAll(filepath.Join(dir, "photos"), 0o755); err != nil {
		return nil, err
	}
	s3, err := s3test.Launch(dir)
	if err != nil {
		return nil, err
	}
	redis, err := redistest.Start()
	return &engines{pg, s3, redis}, err
}

func (e *engines) close() {
	e.s3.Stop()
	_ = e.redis.Close()
	_ = e.pg.Close()
}

// cluster starts nodes over a database and a prefix of their own.
func (b *bench) cluster(e *engines, name string, n int) ([]*process, error) {
	database, err := e.pg.Database("")
	if err != nil {
		return nil, err
	}
	var nodes []*process
	for i := range n {
		env := append(s3test.Env(), "SAFELIGHT_INGEST_VERIFY=header", "SAFELIGHT_DATABASE_URL="+database,
			"SAFELIGHT_REDIS_URL="+e.redis.URL(), "SAFELIGHT_REDIS_PREFIX="+name+":",
			fmt.Sprintf("SAFELIGHT_NODE=%s-%d", name, i), "SAFELIGHT_STORE_SOURCES="+s3test.URL(e.s3.Endpoint, "photos", name))
		p, err := b.safelight(env...)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, p)
	}
	return nodes, nil
}

// Of one round, from so many clients at a time.
const (
	scaleFiles   = 48
	scaleClients = 4
)

// scaleRound uploads to all nodes in turn, and has half of the pictures rendered
// by another node than took them. It answers the CPU seconds of all nodes for one.
func scaleRound(nodes []*process, picture []byte, round int) (upload, render float64, err error) {
	c := client()
	each := func(do func(i int) error) (float64, error) {
		before := 0.0
		for _, p := range nodes {
			before -= p.cpu()
		}
		var wg sync.WaitGroup
		errs := make(chan error, scaleClients)
		for first := range scaleClients {
			wg.Go(func() {
				for i := first; i < scaleFiles; i += scaleClients {
					if err := do(i); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		for _, p := range nodes {
			before += p.cpu()
		}
		return before / scaleFiles, <-errs
	}
	key := func(i int) string { return fmt.Sprintf("%d-%d.jpg", round, i) }
	upload, err = each(func(i int) error {
		return put(c, nodes[i%len(nodes)].url, key(i), unique(picture, uint64(round*1000+i), 1<<20))
	})
	if err != nil {
		return 0, 0, err
	}
	render, err = each(func(i int) error {
		_, err := get(c, nodes[i/2%len(nodes)].url+"/images/"+key(i)+"?w=512&format=jpeg", http.Header{})
		return err
	})
	return upload, render, err
}
