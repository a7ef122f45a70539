package httpapi

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
)

const principalKey contextKey = 1

// everything is what a direct local client may do while no keys exist.
var everything = auth.Principal{Name: "loopback", Scopes: []auth.Scope{auth.Admin}}

// principal finds who a request acts for. Without any keys only direct local
// clients are let in, as someone who may do everything.
func (s *Server) principal(r *http.Request) (auth.Principal, error) {
	if token, ok := bearer(r); ok {
		if !s.Auth.Empty() {
			return s.Auth.Authenticate(r.Context(), token)
		}
		return auth.Principal{}, fault.New(fault.Unauthenticated, "no keys are configured, so none can be used")
	}
	if !s.Auth.Empty() {
		return auth.Principal{}, fault.New(fault.Unauthenticated, "this needs a key: send it as Authorization: Bearer …")
	}
	if !directLocal(r) {
		return auth.Principal{}, fault.New(fault.Denied, "while no keys are configured (auth.keys), only programs on the server's own machine are let in, "+
			"directly (HTTP/1.1, no proxy), by a local name, and not from a page of another site")
	}
	return s.owned(everything, r), nil
}

// bearer is the token of the Authorization header.
func bearer(r *http.Request) (string, bool) {
	h := r.Header.Get("Authorization")
	if len(h) > 7 && strings.EqualFold(h[:7], "bearer ") {
		return strings.TrimSpace(h[7:]), true
	}
	return "", false
}

// owned lets the host name select the owner of a request without a key.
func (s *Server) owned(p auth.Principal, r *http.Request) auth.Principal {
	p.Owner = s.ownerOf(r.Host)
	return p
}

// ownerOf is the owner that a host name selects.
func (s *Server) ownerOf(hostport string) string {
	if len(s.config.Owners) > 0 {
		host, _, err := net.SplitHostPort(hostport)
		if err != nil {
			host = hostport
		}
		if owner, ok := s.config.Owners[strings.ToLower(host)]; ok {
			return owner
		}
	}
	return asset.DefaultOwner
}

// localAddress tells a client's address on this machine.
func localAddress(remote string) bool {
	return strings.HasPrefix(remote, "127.") || strings.HasPrefix(remote, "[::1]:")
}

// viaProxy tells a request that a proxy makes for another client: by a header
// that proxies add, or by HTTP/1.0, which is what some speak unless they are
// told otherwise, without adding anything.
func viaProxy(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "Cf-") || strings.HasSuffix(name, "Client-Ip") {
			return true
		}
		switch name {
		case "Forwarded", "Via", "X-Real-Ip", "True-Client-Ip", "Cdn-Loop", "X-Original-Forwarded-For", "X-Envoy-External-Address":
			return true
		}
	}
	return false
}

// directLocal tells a client on this machine that connects without a proxy and
// by a local name (a page of another site that rebinds its name to 127.0.0.1
// comes by that name), and is not a page of another site.
func directLocal(r *http.Request) bool {
	if !localAddress(r.RemoteAddr) {
		return false
	}
	if viaProxy(r) || !localHost(r.Host) {
		return false
	}
	if site := r.Header.Values("Sec-Fetch-Site"); slices.Contains(site, "cross-site") && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, origin := range r.Header.Values("Origin") {
		if origin != "http://"+r.Host && origin != "https://"+r.Host {
			return false
		}
	}
	return true
}

func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") && net.ParseIP(host) != nil
}

// require lets in who has a scope, and puts the principal into the context.
func (s *Server) require(scope auth.Scope, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.permit(r, scope)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next(w, r.WithContext(context.WithValue(r.Context(), principalKey, p)))
	}
}

func (s *Server) permit(r *http.Request, scope auth.Scope) (auth.Principal, error) {
	p, err := s.principal(r)
	if err == nil && !p.May(scope) {
		err = fault.New(fault.Denied, "the key lacks the scope %q", scope)
	}
	return p, err
}

// reader is who a picture is shown to: with public_read, everybody, once keys
// exist.
func (s *Server) reader(r *http.Request) (auth.Principal, error) {
	if s.config.PublicRead && !s.Auth.Empty() {
		if _, ok := r.Header["Authorization"]; !ok {
			return s.owned(auth.Principal{Name: "public"}, r), nil
		}
	}
	return s.permit(r, auth.Read)
}

func principalOf(r *http.Request) auth.Principal {
	p, _ := r.Context().Value(principalKey).(auth.Principal)
	return p
}
