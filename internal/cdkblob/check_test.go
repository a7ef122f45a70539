package cdkblob_test

import (
	"strings"
	"testing"

	"safelight/internal/cdkblob"
	"safelight/internal/fault"
)

func wantCheck(t *testing.T, url, says string) {
	t.Helper()
	err := cdkblob.Check(url)
	if says == "" && err != nil || says != "" && (fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush")) {
		t.Errorf("%s: %v; want %q", url, err, says)
	}
}

func TestCheck(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	for url, says := range map[string]string{
		"s3://bucket/a?region=x&endpoint=https://s3.example.com&path_style=true&sse=aws:kms&kms_key=arn:x&checksums=required": "",
		"s3://bucket":          "",
		"s3://bucket?sse=none": "AES256, aws:kms", "s3://bucket?kms_key=x": "needs sse=aws:kms", "s3://bucket?path_style=yes": "path_style", "s3://bucket?checksums=x": "checksums",
		"s3://bucket?endpoint=s3.example.com": "endpoint", "s3://bucket?secret=hush": "there are region, endpoint, path_style, sse, kms_key, checksums",
		"s3://key:hush@bucket": "environment", "oss://bucket": "s3://", "": "s3://",
	} {
		wantCheck(t, url, says)
	}
	for url, says := range map[string]string{"s3://bucket": "region"} {
		_, err := cdkblob.Open(t.Context(), cdkblob.Options{URL: url, Config: quick(), Spool: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", url, err, says)
		}
	}
}
