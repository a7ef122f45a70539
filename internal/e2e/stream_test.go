package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"testing"
	"time"
)

// TestStreamThroughNginx sends a file, waits until it is told of as stored, and
// then sends the next in the same request.
func TestStreamThroughNginx(t *testing.T) {
	c := newCluster(t, "SAFELIGHT_PIPELINE_STEPS=[]")
	body, sent := io.Pipe()
	w := multipart.NewWriter(sent)
	req, err := http.NewRequest(http.MethodPost, c.front.url+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Accept", "application/x-ndjson")
	req.Header.Set("Authorization", "Bearer "+clusterKey)
	send := func(name string) {
		part, err := w.CreateFormFile("image", name)
		if err == nil {
			_, err = part.Write(uniquePNG(name, 100))
		}
		if err != nil {
			t.Error(err)
		}
	}
	told := make(chan string)
	go func() {
		defer close(told)
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		for scan := bufio.NewScanner(res.Body); scan.Scan(); {
			var line struct{ Name string }
			if json.Unmarshal(scan.Bytes(), &line) == nil {
				told <- line.Name
			}
		}
	}()
	for _, name := range []string{"one.png", "two.png"} {
		send(name)
		// the part ends with the boundary of the next
		if name == "one.png" {
			if _, err := w.CreateFormField("tags"); err != nil {
				t.Fatal(err)
			}
		} else if err := w.Close(); err != nil {
			t.Fatal(err)
		} else if err := sent.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-told:
			if got != name {
				t.Fatalf("told of %q, expected %q", got, name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not told of %s", name)
		}
	}
	for range told {
	}
}
