package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/faultproxy"
	"safelight/internal/postgres"
	"safelight/internal/task"
)

// TestSilentServer: a server to which connections stand still, or are reset, or
// are slow. Calls end soon, and nothing needs mending afterwards.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	cfg := config(fresh(t))
	u, err := url.Parse(string(cfg.URL))
	if err != nil {
		t.Fatal(err)
	}
	proxy := faultproxy.Start(t, u.Host)
	through := cfg
	u.Host = proxy.Addr()
	through.URL = postgres.URL(u.String())
	here, there := tasksConfig(), tasksConfig()
	behind, direct := openQueue(t, through, here), openQueue(t, cfg, there)
	if err := add(behind.db, 1, "first"); err != nil {
		t.Fatal(err)
	}
	for i, f := range []faultproxy.Fault{faultproxy.Silence, faultproxy.Refuse, faultproxy.Silence} {
		calls := map[string]func() error{
			"a read":   func() error { _, err := behind.db.Resolve(context.Background(), "main", "first"); return err },
			"a change": func() error { return add(behind.db, uint64(10+i), fmt.Sprint("late ", i)) },
			"a claim": func() error {
				_, err := behind.Claim(context.Background(), task.Claim{Functions: []string{"f"}, Max: 1, Lease: time.Minute})
				return err
			},
		}
		proxy.Set(f)
		for round := range 3 {
			var wg sync.WaitGroup
			for what, call := range calls {
				wg.Go(func() {
					begin := time.Now()
					err := call()
					took := time.Since(begin)
					if fault.Of(err) != fault.Unavailable || took > 10*time.Second {
						t.Errorf("fault %d: %s ended after %v with %v", f, what, took, err)
					}
					t.Logf("fault %d, round %d: %s took %v", f, round, what, took)
				})
			}
			wg.Wait()
		}
		proxy.Set(faultproxy.None)
		begin := time.Now()
		for what, call := range calls {
			for err := call(); err != nil; err = call() {
				if time.Since(begin) > patience {
					t.Fatalf("fault %d: %s fails long after it: %v", f, what, err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		t.Logf("fault %d: all works again after %v", f, time.Since(begin))
		hears(t, direct, here.Signals)
	}
	proxy.Delay(100 * time.Millisecond)
	if err := add(behind.db, 2, "slow"); err != nil {
		t.Errorf("a change over a slow connection: %v", err)
	}
}

// TestLongCallIsLetBe: a call that takes longer than the server may be silent is
// not taken for one to a silent server.
func TestLongCallIsLetBe(t *testing.T) {
	t.Parallel()
	cfg := config(fresh(t))
	cfg.AwayAfter = 300 * time.Millisecond
	q := openQueue(t, cfg, tasksConfig())
	ctx := context.Background()
	conn, err := q.db.Pool().Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE keys IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() { added <- add(q.db, 1, "a") }()
	select {
	case err := <-added:
		t.Fatalf("a change that waits for a lock ended with %v", err)
	case <-time.After(5 * cfg.AwayAfter):
	}
	if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Error(err)
	}
}

// TestSlowServer: a server over a network so slow that a connection takes longer to
// make than the server may be silent. It is not taken for one that is silent.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	cfg := config(fresh(t))
	u, err := url.Parse(string(cfg.URL))
	if err != nil {
		t.Fatal(err)
	}
	proxy := faultproxy.Start(t, u.Host)
	u.Host = proxy.Addr()
	cfg.URL = postgres.URL(u.String())
	db := openQueue(t, cfg, tasksConfig()).db
	proxy.Delay(300 * time.Millisecond)
	defer proxy.Delay(0)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := 0; time.Since(begin) < 4*cfg.AwayAfter; n++ {
				if err := add(db, uint64(100*i+n), fmt.Sprint(i, " ", n)); err != nil {
					t.Errorf("a change after %v: %v", time.Since(begin), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := db.Stats().Stops; n != 0 {
		t.Errorf("it was taken to be silent %d times", n)
	}
}
