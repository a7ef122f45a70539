//go:build clouds

package cdkblob_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/cdkblob"
	"safelight/internal/fault"
)

// other is a service that no real server is at hand for.
type other struct {
	start func(t testing.TB) *fake
	url   func(f *fake, bucket, prefix string) string
}

var others = map[string]other{
	"azure": {
		func(t testing.TB) *fake { return newFake(t, serveAzure) },
		func(f *fake, bucket, prefix string) string {
			return "azblob://" + bucket + "/" + prefix + "?endpoint=" + f.URL
		},
	},
	"google": {
		func(t testing.TB) *fake { return newFake(t, serveGoogle) },
		func(f *fake, bucket, prefix string) string {
			return "gs://" + bucket + "/" + prefix + "?endpoint=" + f.URL
		},
	},
}

// setKeys gives this process credentials for the fakes.
func setKeys(t *testing.T, f *fake) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", azureAccount)
	t.Setenv("AZURE_STORAGE_KEY", azureKey)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "x@example.com", "token_uri": f.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
}

func TestOthers(t *testing.T) {
	for name, o := range others {
		t.Run(name, func(t *testing.T) {
			unproven := 0
			for _, prefix := range []string{"", "pre/fix"} {
				blobtest.Run(t, func(t *testing.T) blob.Store {
					f := o.start(t)
					setKeys(t, f)
					t.Cleanup(func() { unproven += f.unproven })
					return open(t, o.url(f, "bucket", prefix), quick())
				})
			}
			if unproven > 0 {
				t.Errorf("%d requests had no credentials, or no checksum", unproven)
			}
		})
	}
}

func TestOthersInParts(t *testing.T) {
	for name, o := range others {
		t.Run(name, func(t *testing.T) {
			f := o.start(t)
			setKeys(t, f)
			s := open(t, o.url(f, "bucket", "a"), quick())
			data, _ := blobtest.Bytes(1, 12<<20)
			put(t, s, "ä b/c+d.webp", data)
			if !bytes.Equal(get(t, s, "ä b/c+d.webp"), data) {
				t.Error("other bytes came back")
			}
			if stored, ok := f.objects["a/ä b/c+d.webp"]; !ok || stored.mediaType != "image/webp" || f.unproven > 0 {
				t.Errorf("stored: %t, as %q; %d requests without credentials or checksum", ok, stored.mediaType, f.unproven)
			}
			// What is replaced or deleted is not mixed with what was opened.
			r, err := s.Open(t.Context(), "ä b/c+d.webp")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			put(t, s, "ä b/c+d.webp", bytes.Repeat([]byte("x"), 12<<20))
			part := make([]byte, 10)
			_, err = r.ReadAt(part, 100)
			wantUnavailable(t, "ReadAt of an object that was replaced", err)
		})
	}
}

func TestOthersFail(t *testing.T) {
	for name, o := range others {
		t.Run(name, func(t *testing.T) {
			f := o.start(t)
			setKeys(t, f)
			c := quick()
			c.Attempts, c.Failures = 1, 1000
			s := open(t, o.url(f, "bucket", ""), c)
			for what, c := range map[string]struct {
				status int
				code   string
				kind   fault.Kind
				says   string
			}{
				"throttled": {503, "ServerBusy", fault.Unavailable, "at the moment"}, "too many": {429, "", fault.Unavailable, "at the moment"},
				"denied": {403, "AuthenticationFailed", fault.Unavailable, "denied"}, "refused": {400, "InvalidInput", fault.Internal, "refused"},
				"full": {507, "", fault.OutOfSpace, "no room"},
			} {
				f.refuse(func(w http.ResponseWriter) bool {
					if c.code != "" {
						w.Header().Set("X-Ms-Error-Code", c.code)
					}
					w.WriteHeader(c.status)
					return true
				})
				for call, do := range calls(t, s) {
					err := do()
					if err == nil || fault.Of(err) != c.kind || !strings.Contains(fault.As(err).Message, c.says) {
						t.Errorf("%s: %s: %v (%v); want %v", what, call, err, fault.Of(err), c.kind)
					}
				}
			}
			f.refuse(nil)
			for call, do := range calls(t, open(t, o.url(f, "nowhere", ""), c)) {
				wantUnavailable(t, "no bucket: "+call, do())
			}
			f.Close()
			for call, do := range calls(t, s) {
				wantUnavailable(t, "away: "+call, do())
			}
		})
	}
}

// A host that has no address is not a bucket that has lost an object.
func TestNoHost(t *testing.T) {
	setKeys(t, newFake(t, serveAzure))
	c := quick()
	c.Attempts = 1
	_, err := open(t, "azblob://bucket?endpoint=http://no-such-host.invalid", c).Stat(t.Context(), "a")
	wantUnavailable(t, "stat", err)
}

func TestCheckOthers(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "")
	for url, says := range map[string]string{
		"gs://bucket/a": "", "azblob://container/a?account=x": "", "gs://bucket?region=x": "there are endpoint",
		"azblob://c?key=hush": "there are account, endpoint", "azblob://c?endpoint=https://x?sig=hush": "endpoint",
	} {
		wantCheck(t, url, says)
	}
	_, err := cdkblob.Open(t.Context(), cdkblob.Options{URL: "azblob://c", Config: quick(), Spool: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "account") {
		t.Error(err)
	}
}

// A signed address must not show in an error.
func TestSignatureIsHidden(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "")
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2022-11-02&sig=hush-hush")
	f := newFake(t, serveAzure)
	c := quick()
	c.Attempts = 1
	s := open(t, "azblob://bucket?account=account&endpoint="+f.URL, c)
	for _, end := range []func(){
		func() { f.refuse(func(w http.ResponseWriter) bool { w.WriteHeader(403); return true }) },
		func() { f.refuse(func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }) },
		f.Close,
	} {
		end()
		for call, do := range calls(t, s) {
			if err := do(); err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hush") {
				t.Errorf("%s: %v", call, err)
			}
		}
	}
	if _, err := s.Stat(t.Context(), "a"); fault.Of(err) != fault.Unavailable {
		t.Error(err)
	}
}
