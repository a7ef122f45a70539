package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

const (
	hotConnections = 4
	hotRequests    = 6000 // a round, over all connections
)

// hot asks for one rendition again and again, of us and of a bare handler that
// writes the same bytes.
func (b *bench) hot() ([]row, error) {
	var rows []row
	for _, c := range []struct {
		name, query string
	}{{"small (120 px)", "w=120"}, {"500 px", "w=500"}} {
		picture, err := photo(1200, 800, 88, 1)
		if err != nil {
			return nil, err
		}
		ours, err := b.safelight()
		if err != nil {
			return nil, err
		}
		if err := put(client(), ours.url, "hot.jpg", picture); err != nil {
			return nil, err
		}
		path := "/images/hot.jpg?" + c.query
		body, err := get(client(), ours.url+path, nil)
		if err != nil {
			return nil, err
		}
		file := b.dir + "/hot-body"
		if err := os.WriteFile(file, body, 0o600); err != nil {
			return nil, err
		}
		bare, err := b.self("handler", file)
		if err != nil {
			return nil, err
		}
		us, them, err := b.alternate(ours, bare, path, path)
		if err != nil {
			return nil, err
		}
		rows = append(rows, paired(fmt.Sprintf("hot rendition, %s, %d bytes: CPU a request", c.name, len(body)), "µs", 1e6, us, them, "≤ 1.3 (1.1) of a bare handler"))
		b.stopAll()
	}
	return rows, nil
}

// alternate measures CPU seconds a request of two servers in turn.
func (b *bench) alternate(ours, base *process, oursPath, basePath string) (us, them []float64, err error) {
	for round := range b.rounds + 1 {
		o, err := perRequest(ours, oursPath)
		if err != nil {
			return nil, nil, err
		}
		t, err := perRequest(base, basePath)
		if err != nil {
			return nil, nil, err
		}
		if round == 0 {
			continue // both are warm now
		}
		us, them = append(us, o), append(them, t)
	}
	return us, them, nil
}

func perRequest(p *process, path string) (float64, error) {
	before := p.cpu()
	if err := hammer(strings.TrimPrefix(p.url, "http://"), path); err != nil {
		return 0, err
	}
	return (p.cpu() - before) / hotRequests, nil
}

// hammer sends requests over few connections with as little work on the
// client's side as can be: prepared bytes out, the answer's length in.
func hammer(host, path string) error {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: image/avif,image/webp,*/*\r\nUser-Agent: bench\r\n\r\n")
	errs := make([]error, hotConnections)
	var all sync.WaitGroup
	for i := range hotConnections {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[i] = connection(host, request, hotRequests/hotConnections)
		}()
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func connection(host string, request []byte, n int) error {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	for range n {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := skipAnswer(in); err != nil {
			return err
		}
	}
	return nil
}

func skipAnswer(in *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.Contains(line, []byte(" 200 ")) {
			return fmt.Errorf("answered %s", line)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without Content-Length")
	}
	_, err := in.Discard(length)
	return err
}

// bareHandler is the least that net/http can do: a type, a length, the bytes.
func bareHandler(file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "at http://%s\n", ln.Addr())
	length := strconv.Itoa(len(body))
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(body)
	}))
}

// baseline is this program as one of its own baselines.
func baseline(name string, args []string) error {
	switch name {
	case "handler":
		return bareHandler(args[0])
	case "ingest":
		return leastServer(args[0])
	case "vips":
		return bareVips(args)
	}
	return fmt.Errorf("there is no baseline %q", name)
}
