package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// nginx serves the bytes of our rendition as a static file; both are asked for
// them again and again.
func (b *bench) nginx() ([]row, error) {
	picture, err := photo(1200, 800, 88, 1)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, query := range []string{"w=120", "w=500"} {
		ours, err := b.safelight()
		if err != nil {
			return nil, err
		}
		if err := put(client(), ours.url, "hot.jpg", picture); err != nil {
			return nil, err
		}
		body, err := get(client(), ours.url+"/images/hot.jpg?"+query, nil)
		if err != nil {
			return nil, err
		}
		peer, err := b.startNginx(body)
		if err != nil {
			return nil, err
		}
		us, them, err := b.alternate(ours, peer, "/images/hot.jpg?"+query, "/hot.jpg")
		if err != nil {
			return nil, err
		}
		rows = append(rows, paired(fmt.Sprintf("hot rendition, %d bytes: CPU a request, against nginx' static file", len(body)), "µs", 1e6, us, them, "≤ 2 of nginx"))
		b.stopAll()
	}
	return rows, nil
}

const nginxConfig = `
daemon off; master_process off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; etag on;
  types { image/jpeg jpg; }
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { listen %[2]s; root %[1]s/www; }
}
`

func (b *bench) startNginx(body []byte) (*process, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
	}
	dir, err := os.MkdirTemp(b.dir, "nginx-")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	err = errors.Join(os.Mkdir(filepath.Join(dir, "www"), 0o755), os.Chmod(dir, 0o755), os.Chmod(b.dir, 0o755),
		os.WriteFile(filepath.Join(dir, "www", "hot.jpg"), body, 0o644), os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, addr), 0o644))
	if err != nil {
		return nil, err
	}
	return b.await(exec.Command(path, "-p", dir, "-c", conf), addr)
}

// await starts a server that says nothing, and waits until it takes
// connections.
func (b *bench) await(cmd *exec.Cmd, addr string) (*process, error) {
	p := &process{cmd: cmd, url: "http://" + addr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.running = append(b.running, p)
	for range 300 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, fmt.Errorf("%s does not listen on %s", cmd.Path, addr)
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// ipx (sharp underneath) renders the same pictures. It keeps nothing, so each
// of its answers is cold; its second one is what it has for a hot one.
func (b *bench) ipx() ([]row, error) {
	dir := filepath.Join(b.dir, "ipx")
	if err := os.MkdirAll(filepath.Join(dir, "public"), 0o755); err != nil {
		return nil, err
	}
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, "ipx@3", "listhen")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm install ipx: %w\n%s", err, out)
	}
	var rows []row
	for _, c := range []struct {
		name         string
		w, h, n      int
		ours, theirs string
		accept       string
	}{
		{"512 px JPEG of 3 megapixels", 2000, 1500, 16, "w=512", "w_512", ""},
		{"512 px JPEG of 24 megapixels", 6000, 4000, 6, "w=512", "w_512", ""},
		{"512 px WebP of 3 megapixels", 2000, 1500, 12, "w=512&format=webp", "w_512,f_webp", ""},
		{"512 px AVIF of 3 megapixels", 2000, 1500, 6, "w=512&format=avif", "w_512,f_avif", ""},
		{"300×300 px cover of 3 megapixels", 2000, 1500, 16, "w=300&h=300&fit=cover", "s_300x300", ""},
	} {
		picture, err := photo(c.w, c.h, 85, 1)
		if err != nil {
			return nil, err
		}
		got, err := b.againstIPX(dir, picture, c.name, c.n, c.ours, c.theirs)
		b.stopAll()
		if err != nil {
			return nil, err
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

func (b *bench) againstIPX(dir string, picture []byte, name string, n int, ourQuery, theirOptions string) ([]row, error) {
	ours, err := b.safelight("SAFELIGHT_INGEST_VERIFY=header")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("node", filepath.Join(dir, "node_modules/ipx/bin/ipx.mjs"), "serve", "--dir", filepath.Join(dir, "public"), "--host", "127.0.0.1", "--port", port)
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	peer, err := b.await(cmd, addr)
	if err != nil {
		return nil, err
	}
	var cpuUs, cpuThem, wallUs, wallThem, hotUs, hotThem []float64
	c := client()
	for round := range b.rounds + 1 {
		for i := range n {
			body, key := unique(picture, uint64(round*1000+i), 0), fmt.Sprintf("%d-%d.jpg", round, i)
			if err := errors.Join(put(c, ours.url, key, body), os.WriteFile(filepath.Join(dir, "public", key), body, 0o644)); err != nil {
				return nil, err
			}
		}
		ourURL := func(i int) string { return fmt.Sprintf("%s/images/%d-%d.jpg?%s", ours.url, round, i, ourQuery) }
		theirURL := func(i int) string { return fmt.Sprintf("%s/%s/%d-%d.jpg", peer.url, theirOptions, round, i) }
		oc, ow, err := batch(c, ours, n, ourURL)
		if err != nil {
			return nil, err
		}
		tc, tw, err := batch(c, peer, n, theirURL)
		if err != nil {
			return nil, err
		}
		oh, _, err := batch(c, ours, n, ourURL)
		if err != nil {
			return nil, err
		}
		th, _, err := batch(c, peer, n, theirURL)
		if err != nil {
			return nil, err
		}
		if round > 0 {
			cpuUs, cpuThem, wallUs, wallThem = append(cpuUs, oc), append(cpuThem, tc), append(wallUs, ow), append(wallThem, tw)
			hotUs, hotThem = append(hotUs, oh), append(hotThem, th)
		}
	}
	return []row{
		paired("cold "+name+": CPU, against ipx", "ms", 1e3, cpuUs, cpuThem, "< 1"),
		paired("cold "+name+": time, 2 clients", "ms", 1e3, wallUs, wallThem, "< 1"),
		paired("again "+name+": CPU", "ms", 1e3, hotUs, hotThem, "< 1"),
	}, nil
}

// batch asks for n URLs from two clients and answers CPU and wall seconds each.
func batch(c *http.Client, p *process, n int, url func(int) string) (cpu, wall float64, err error) {
	before, start := p.cpu(), time.Now()
	errs := make(chan error, 2)
	for half := range 2 {
		go func() {
			for i := half; i < n; i += 2 {
				if _, err := get(c, url(i), nil); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	err = errors.Join(<-errs, <-errs)
	return (p.cpu() - before) / float64(n), time.Since(start).Seconds() / float64(n), err
}
