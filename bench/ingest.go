package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/codec/worker"
	"safelight/internal/format"
	"safelight/internal/plan"
)

const (
	writers   = 16
	perWriter = 12
	fileBytes = 1_000_000
)

// ingest stores files of 1 MB from 16 writers, against a loop of write, fsync
// and rename over the same bytes with as many writers; with decode, against
// that loop with one bare decode a file.
func (b *bench) ingest() ([]row, error) {
	picture, err := photo(1800, 1200, 86, 1)
	if err != nil {
		return nil, err
	}
	picture = unique(picture, 0, fileBytes)
	engine, err := worker.Open(wire.Setup{})
	if err != nil {
		return nil, err
	}
	job := plan.Job{Load: plan.Load{Format: format.JPEG, Pages: 1, Strict: true}, Inspect: true}
	decode := func(f *os.File) error {
		_, err := engine.Execute(job, worker.Files{Source: int(f.Fd()), Overlay: -1, Output: -1})
		return err
	}
	var rows []row
	for _, c := range []struct {
		verify string
		decode func(*os.File) error
		goal   string
	}{{"header", nil, "≥ 0.8 of write+fsync+rename"}, {"decode", decode, "≥ 0.8 of write+fsync+rename and a bare decode"}} {
		ours, err := b.safelight("SAFELIGHT_INGEST_VERIFY=" + c.verify)
		if err != nil {
			return nil, err
		}
		var us, them []float64
		for round := range b.rounds + 1 {
			o, err := timed(func(w, i int) error {
				n := uint64(round*100000 + w*1000 + i)
				return put(ingestClient, ours.url, fmt.Sprintf("%d.jpg", n), unique(picture[:len(picture)-64], n, fileBytes))
			})
			if err != nil {
				return nil, err
			}
			t, err := timed(func(w, i int) error {
				n := uint64(round*100000 + w*1000 + i)
				return bareWrite(b.dir, n, unique(picture[:len(picture)-64], n, fileBytes), c.decode)
			})
			if err != nil {
				return nil, err
			}
			if round > 0 {
				us, them = append(us, writers*perWriter/o), append(them, writers*perWriter/t)
			}
		}
		own, child := ours.peaks()
		rows = append(rows, paired(fmt.Sprintf("ingest of 1 MB files, %d writers, verify: %s", writers, c.verify), "files/s", 1, us, them, c.goal),
			row{what: fmt.Sprintf("  peak memory then: server %.0f MiB, largest codec process %.0f MiB", own, child)})
		b.stopAll()
	}
	return rows, nil
}

var ingestClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writers}, Timeout: time.Minute}

// timed has all writers do their share and answers the seconds it took.
func timed(one func(writer, i int) error) (float64, error) {
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	start := time.Now()
	for w := range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range perWriter {
				if err := one(w, i); err != nil {
					failed.Store(&err)
					return
				}
			}
		}()
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return time.Since(start).Seconds(), nil
}

var decoding sync.Mutex // the bare decode is one engine; libvips is called from one thread at a time

// bareWrite keeps a file with the least that survives a power loss.
func bareWrite(dir string, n uint64, body []byte, decode func(*os.File) error) error {
	name := filepath.Join(dir, fmt.Sprintf("bare-%d", n))
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(body); err != nil {
		return err
	}
	if decode != nil {
		decoding.Lock()
		err := decode(f)
		decoding.Unlock()
		if err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func memfile() (*os.File, error) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "memfd"), nil
}

// memory watches the server's resident size at rest and under a bulk upload.
func (b *bench) memory() ([]row, error) {
	defer b.stopAll()
	p, err := b.safelight("SAFELIGHT_INGEST_VERIFY=header")
	if err != nil {
		return nil, err
	}
	rest := statusMiB(p.cmd.Process.Pid, "VmRSS")
	picture, err := photo(400, 300, 80, 1)
	if err != nil {
		return nil, err
	}
	for i := range 3 {
		if err := put(client(), p.url, fmt.Sprintf("big%d.jpg", i), unique(picture, uint64(i), 95_000_000)); err != nil {
			return nil, err
		}
	}
	_, err = timed(func(w, i int) error {
		return put(ingestClient, p.url, fmt.Sprintf("%d-%d.jpg", w, i), unique(picture, uint64(w*1000+i), fileBytes*4))
	})
	if err != nil {
		return nil, err
	}
	own, _ := p.peaks()
	return []row{{what: "server's memory at rest", ours: fmt.Sprintf("%.0f MiB", rest), goal: "40 MiB"},
		{what: "server's peak, 95 MB files and 16 writers of 4 MB", ours: fmt.Sprintf("%.0f MiB", own), goal: "≤ 150 MiB"}}, nil
}
