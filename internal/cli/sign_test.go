package cli

import (
	"strings"
	"testing"
)

func TestSign(t *testing.T) {
	t.Setenv("SAFELIGHT_REMOTE_KEYS", "000102030405060708090a0b0c0d0e0f")
	t.Setenv("SAFELIGHT_REMOTE_HOSTS", "[example.com]")
	t.Setenv("SAFELIGHT_HTTP_PUBLIC_URL", "https://img.example/")
	status, text := says(t, "sign https://example.com/a.jpg w=500 fit=cover")
	if status != 0 || !strings.HasPrefix(text, "https://img.example/remote/") || !strings.HasSuffix(text, "/aHR0cHM6Ly9leGFtcGxlLmNvbS9hLmpwZw?w=500&fit=cover\n") {
		t.Errorf("%d, %s", status, text)
	}
	if _, one := says(t, "sign https://example.com/a.jpg w=500&fit=cover"); one != text {
		t.Errorf("as one argument: %s; want %s", one, text)
	}
	for line, want := range map[string]string{
		"sign https://other.example/":      "remote.hosts",
		"sign example.com/a.jpg":           "expected a complete URL",
		"sign https://example.com/ w=wide": "w",
		"sign https://example.com/ v=ä":    "must be escaped",
	} {
		if status, text := says(t, line); status == 0 || !strings.Contains(text, want) || strings.Contains(text, "/remote/") {
			t.Errorf("%s: %d, %s", line, status, text)
		}
	}
	t.Setenv("SAFELIGHT_REMOTE_KEYS", "[]")
	if status, text := says(t, "sign https://example.com/"); status != 1 || !strings.Contains(text, "remote.keys") {
		t.Errorf("without keys: %d, %s", status, text)
	}
}
