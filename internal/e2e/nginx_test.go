package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nginxProgram is where nginx is; the test is skipped where it is not.
func nginxProgram(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		t.Skip("nginx is not installed (apt-get install nginx)")
	}
	return path
}

// shippedNginx is deploy/nginx/safelight.conf with other addresses, and nothing
// else changed.
func shippedNginx(t *testing.T, listen string, nodes ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nginx", "safelight.conf"))
	if err != nil {
		t.Fatal(err)
	}
	conf := string(text)
	if n := strings.Count(conf, "\tserver "); n != 2*len(nodes) {
		t.Fatalf("the configuration has %d lines for nodes; expected %d nodes in two lists", n, len(nodes))
	}
	put := func(old, new string, times int) {
		if n := strings.Count(conf, old); n != times {
			t.Fatalf("the configuration has %q %d times; expected %d", old, n, times)
		}
		conf = strings.ReplaceAll(conf, old, new)
	}
	put("listen 80;", "listen "+listen+";", 1)
	for i, address := range nodes {
		put(fmt.Sprintf("\tserver %c:8080 ", 'a'+i), "\tserver "+address+" ", 2)
	}
	return conf
}

// nginxFiles writes a whole configuration into a directory and gives its path.
// The log of accesses tells which nodes were asked.
func nginxFiles(t *testing.T, dir, site string) string {
	t.Helper()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("\t%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	main := fmt.Sprintf(`daemon off; %s worker_processes 2; pid %[2]s/pid; error_log %[2]s/error.log;
events { worker_connections 1024; }
http {
	log_format nodes '$request_method $request_uri $status $upstream_addr $upstream_status';
	access_log %[2]s/access.log nodes;
%[3]s	include %[2]s/site.conf;
}
`, user, dir, temp)
	for name, text := range map[string]string{"site.conf": site, "nginx.conf": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "nginx.conf")
}

// balance runs nginx, set up as it is shipped, before nodes at addresses, and
// gives it as a server that is asked with a key.
func balance(t *testing.T, key string, nodes ...string) *server {
	t.Helper()
	program, dir, listen := nginxProgram(t), t.TempDir(), quietAddress(t)
	cmd := exec.Command(program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", nginxFiles(t, dir, shippedNginx(t, listen, nodes...)))
	out := &lines{}
	cmd.Stdout, cmd.Stderr = writerTo(out), writerTo(out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("nginx said:\n%s%.4000s", out, text)
		}
	})
	eventually(t, func() bool {
		c, err := net.Dial("tcp", listen)
		if err != nil {
			return false
		}
		return errors.Join(c.Close()) == nil
	}, func() string { return "nginx does not listen:\n" + out.String() })
	return &server{t: t, url: "http://" + listen, key: key, log: out, data: dir}
}

// accesses are the lines of nginx's log: method, URI, status, nodes that were
// asked, and what they answered.
func accesses(t *testing.T, s *server) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
