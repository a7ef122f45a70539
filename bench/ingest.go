package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
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
	bodies := make([][]byte, writers*perWriter)
	loops := make(chan *vipsLoop, runtime.NumCPU())
	decode := func(path string) error {
		l := <-loops
		defer func() { loops <- l }()
		return l.say("inspect " + path)
	}
	var rows []row
	for _, c := range []struct {
		verify string
		decode func(string) error
		goal   string
	}{{"header", nil, "≥ 0.8 of write+fsync+rename"}, {"decode", decode, "≥ 0.8 of write+fsync+rename and a bare decode"}} {
		ours, err := b.safelight("SAFELIGHT_INGEST_VERIFY=" + c.verify)
		if err != nil {
			return nil, err
		}
		var lent []*vipsLoop
		for range cap(loops) {
			l, err := b.loop(1800, 1200)
			if err != nil {
				return nil, err
			}
			loops <- l
			lent = append(lent, l)
		}
		clients, err := dialAll(ours)
		if err != nil {
			return nil, err
		}
		least, err := b.self("ingest", b.dir)
		if err != nil {
			return nil, err
		}
		leastClients, err := dialAll(least)
		if err != nil {
			return nil, err
		}
		var us, them, leastRate, cpuUs, cpuThem []float64
		for round := range b.rounds + 1 {
			for i := range bodies { // new bytes, outside of the time that is measured
				bodies[i] = unique(picture, uint64(round*100000+i), fileBytes)
			}
			before := ours.cpu()
			o, err := timed(func(w, i int) error {
				n := w*perWriter + i
				return clients[w].put(fmt.Sprintf("%d-%d.jpg", round, n), bodies[n])
			})
			if err != nil {
				return nil, err
			}
			spent := ours.cpu() - before
			l, err := timed(func(w, i int) error {
				return leastClients[w].put("x", bodies[w*perWriter+i])
			})
			if err != nil {
				return nil, err
			}
			own := ownCPU()
			t, err := timed(func(w, i int) error {
				n := w*perWriter + i
				return bareWrite(b.dir, fmt.Sprintf("bare-%s-%d-%d", c.verify, round, n), bodies[n], c.decode)
			})
			if err != nil {
				return nil, err
			}
			own = ownCPU() - own
			for _, l := range lent {
				own += l.cpuSince()
			}
			if round > 0 {
				cpuUs, cpuThem = append(cpuUs, spent/(writers*perWriter)), append(cpuThem, own/(writers*perWriter))
				leastRate = append(leastRate, writers*perWriter/l)
				us, them = append(us, writers*perWriter/o), append(them, writers*perWriter/t)
			}
		}
		own, child := ours.peaks()
		rows = append(rows, paired(fmt.Sprintf("ingest of 1 MB files, %d writers, verify: %s", writers, c.verify), "files/s", 1, us, them, c.goal))
		if c.decode == nil {
			rows = append(rows, paired("  the same against the least server (net/http, SHA-256, write+fsync+rename)", "files/s", 1, us, leastRate, ""))
		}
		rows = append(rows,
			paired("  CPU a file, server and codec processes against the loop", "ms", 1e3, cpuUs, cpuThem, ""),
			row{what: fmt.Sprintf("  peak memory then: server %.0f MiB, largest codec process %.0f MiB", own, child)})
		b.stopAll()
		for range cap(loops) {
			<-loops
		}
	}
	return rows, nil
}

// uploader is a client that costs as little as can be: prepared bytes out over
// a connection of its own, the status in.
type uploader struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialAll(p *process) ([]*uploader, error) {
	all := make([]*uploader, writers)
	for i := range all {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			return nil, err
		}
		all[i] = &uploader{conn, bufio.NewReader(conn)}
	}
	return all, nil
}

func (u *uploader) put(key string, body []byte) error {
	head := fmt.Appendf(nil, "PUT /images/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", key, len(body))
	parts := net.Buffers{head, body}
	if _, err := parts.WriteTo(u.conn); err != nil {
		return err
	}
	res, err := http.ReadResponse(u.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("PUT %s was answered %d: %.300s", key, res.StatusCode, answer)
	}
	return err
}

// ownCPU is the processor time of this process in seconds.
func ownCPU() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

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

// bareWrite keeps a file with the least that survives a power loss.
func bareWrite(dir, name string, body []byte, decode func(path string) error) error {
	name = filepath.Join(dir, name)
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(body); err != nil {
		return err
	}
	if decode != nil {
		if err := decode(name + ".tmp"); err != nil {
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
	c := client()
	_, err = timed(func(w, i int) error {
		return put(c, p.url, fmt.Sprintf("%d-%d.jpg", w, i), unique(picture, uint64(w*1000+i), fileBytes*4))
	})
	if err != nil {
		return nil, err
	}
	own, _ := p.peaks()
	return []row{{what: "server's memory at rest", ours: fmt.Sprintf("%.0f MiB", rest), goal: "40 MiB"},
		{what: "server's peak, 95 MB files and 16 writers of 4 MB", ours: fmt.Sprintf("%.0f MiB", own), goal: "≤ 150 MiB"}}, nil
}

// leastServer is the least that an ingest over HTTP can do: net/http, SHA-256,
// write, fsync, rename.
func leastServer(dir string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "at http://%s\n", ln.Addr())
	var n atomic.Int64
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := keep(filepath.Join(dir, fmt.Sprint("least-", n.Add(1))), r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
}

func keep(name string, body io.Reader) error {
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// The types hide ReadFrom and WriteTo, so that every byte is hashed on its way.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{io.TeeReader(body, sha256.New())}, make([]byte, 64<<10)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
