package taskapi_test

import (
	"errors"
	"fmt"
	"testing"

	"safelight/internal/client"
	"safelight/internal/httpapi/taskapi"
)

// The client of the command line and the server understand each other.
func TestClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, err := client.New(s.URL, siteKey)
	if err != nil {
		t.Fatal(err)
	}
	submitted, err := c.Submit(t.Context(), taskapi.Submission{Function: "f", Name: "n", Args: []byte(`{"a":1}`), Lock: &taskapi.Lock{Name: "l"}})
	if err != nil || submitted.Lock.Limit != 1 {
		t.Fatalf("%+v, %v", submitted, err)
	}
	var listed []taskapi.Task
	if err := c.List(t.Context(), taskapi.Filter{State: "ready,dead", Name: "n"}, 0, func(k taskapi.Task) error { listed = append(listed, k); return nil }); err != nil || len(listed) != 1 || listed[0].ID != submitted.ID {
		t.Errorf("%+v, %v", listed, err)
	}
	if got, err := c.Alter(t.Context(), client.Cancel, submitted.ID); err != nil || got.State != "cancelled" {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := c.AlterAll(t.Context(), client.Retry, taskapi.Filter{Name: "n"}); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	var seen []string
	ended, err := c.Watch(t.Context(), submitted.ID, func(k taskapi.Task) {
		seen = append(seen, k.State)
		if k.State == "ready" {
			held := s.claim(workerKey, "f")
			s.do(workerKey, "POST", held.URLs.Report, `{"outcome":"failed","final":true,"error":"no"}`).is(200)
		}
	})
	if err != nil || ended.State != "dead" || ended.Error != "no" || seen[0] != "ready" || seen[len(seen)-1] != "dead" {
		t.Errorf("%+v, %v, %v", ended, err, seen)
	}
	var no *client.Error
	if _, err := c.Task(t.Context(), "x"); !errors.As(err, &no) || no.Status != 404 || fmt.Sprint(err) != "there is no task with this id" {
		t.Errorf("%v", err)
	}
}
