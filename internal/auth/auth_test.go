package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"safelight/internal/auth"
	"safelight/internal/fault"
)

const token = "0123456789abcdef"

func TestNewStatic(t *testing.T) {
	t.Parallel()
	good := auth.Key{Name: "ci", Token: token, Scopes: []string{"upload"}}
	tests := []struct {
		name  string
		keys  []auth.Key
		parts []string // of the error; none is no error
	}{
		{"none", nil, nil},
		{"one", []auth.Key{good}, nil},
		{"every scope", []auth.Key{{Token: token, Scopes: []string{"upload", "read", "admin", "worker"}}}, nil},
		{"short token", []auth.Key{{Name: "ci", Token: auth.Secret(token[1:]), Scopes: []string{"read"}}}, []string{"ci: the token has 15 characters; use at least 16"}},
		{"no token", []auth.Key{{Scopes: []string{"read"}}}, []string{"key 1: the token has 0 characters"}},
		{"no scope", []auth.Key{{Name: "ci", Token: token}}, []string{"ci has no scopes"}},
		{"unknown scope", []auth.Key{{Name: "ci", Token: token, Scopes: []string{"root"}}}, []string{`ci: expected the scopes upload, read, admin or worker but received "root"`}},
		{"scope in capitals", []auth.Key{{Name: "ci", Token: token, Scopes: []string{"Read"}}}, []string{`received "Read"`}},
		{"repeated token", []auth.Key{good, {Name: "cd", Token: token, Scopes: []string{"read"}}}, []string{"cd has the token of another key"}},
		{"a worker of every owner", []auth.Key{{Token: token, Owner: "*", Scopes: []string{"worker"}}}, nil},
		{"a reader of every owner", []auth.Key{{Name: "ci", Token: token, Owner: "*", Scopes: []string{"read"}}}, []string{`ci: the owner "*" is for workers, whose only scope is worker`}},
		{"a worker of every owner that may do more", []auth.Key{{Token: token, Owner: "*", Scopes: []string{"worker", "upload"}}}, []string{`the owner "*"`}},
		{"an admin of every owner", []auth.Key{{Token: token, Owner: "*", Scopes: []string{"admin"}}}, []string{`the owner "*"`}},
		{"all that is wrong", []auth.Key{{Name: "a", Token: "x"}, {Name: "b", Token: token}, {Name: "c", Token: token + "c", Scopes: []string{"x"}}}, []string{"a: the token", "b has no scopes", `received "x"`}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := auth.NewStatic(c.keys)
			if (err != nil) != (len(c.parts) > 0) {
				t.Fatalf("%v", err)
			}
			for _, part := range c.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\nlacks %s", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), token[1:]) {
				t.Errorf("the error shows a token: %v", err)
			}
			if err == nil && s.Empty() != (len(c.keys) == 0) {
				t.Errorf("empty is %t", s.Empty())
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	s, err := auth.NewStatic([]auth.Key{
		{Name: "ci", Token: token, Scopes: []string{"upload", "read"}},
		{Token: token + "!", Owner: "shop", Scopes: []string{"admin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Authenticate(t.Context(), token); err != nil || p.Name != "ci" || p.Owner != "main" || len(p.Scopes) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := s.Authenticate(t.Context(), token+"!"); err != nil || p.Name != "key 2" || p.Owner != "shop" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "***", token[1:], strings.ToUpper(token), token + " ", token + "!!", strings.Repeat("x", 1<<20)} {
		if p, err := s.Authenticate(t.Context(), bad); fault.Of(err) != fault.Unauthenticated || p.Owner != "" || p.May(auth.Read) {
			t.Errorf("%.20q: %+v, %v", bad, p, err)
		}
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	all := []auth.Scope{auth.Upload, auth.Read, auth.Admin, auth.Worker}
	for _, has := range all {
		p := auth.Principal{Scopes: []auth.Scope{has}}
		for _, wants := range all {
			if got, want := p.May(wants), has == wants || has == auth.Admin; got != want {
				t.Errorf("%s may %s: %t", has, wants, got)
			}
		}
	}
	if (auth.Principal{}).May(auth.Read) {
		t.Error("nobody may read")
	}
}

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	const secret = auth.Secret("hunter2-hunter2-hunter2")
	key := auth.Key{Name: "ci", Token: secret}
	list := []any{secret, &key, key, []auth.Key{key}, map[string]auth.Secret{"x": secret}, []auth.Secret{secret}, struct{ S auth.Secret }{secret}, fmt.Errorf("x %v", secret)}
	for _, v := range list {
		for _, verb := range []string{"%v", "%s", "%+v", "%#v", "%q", "%x", "%X", "%d", "%t", "%20s", "%T %v"} {
			args := []any{v}
			if strings.HasPrefix(verb, "%T") {
				args = append(args, v)
			}
			checkHidden(t, verb, fmt.Sprintf(verb, args...))
		}
		var logs bytes.Buffer
		slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "v", v)
		checkHidden(t, "a log", logs.String())
		text, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		checkHidden(t, "JSON", string(text))
	}
	for _, verb := range []string{"%v", "%s", "%+v", "%#v", "%d"} {
		if got := fmt.Sprintf(verb, secret); got != "***" {
			t.Errorf("%s gives %s", verb, got)
		}
	}
	if text, err := json.Marshal(secret); err != nil || string(text) != `"***"` {
		t.Errorf("%s, %v", text, err)
	}
	if string(secret) != "hunter2-hunter2-hunter2" {
		t.Error("the secret itself is lost")
	}
}

func checkHidden(t *testing.T, where, text string) {
	t.Helper()
	for _, part := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2"), "aHVudGVyMi"} {
		if strings.Contains(text, part) {
			t.Errorf("%s shows the secret: %s", where, text)
		}
	}
}
