package task_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"safelight/internal/task"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	second, bounded := task.Policy{RetryUnit: time.Second}, task.Policy{RetryUnit: time.Second, RetryMax: time.Minute}
	for _, c := range []struct {
		policy   task.Policy
		n        int
		expected time.Duration
	}{
		{second, -5, 0},
		{second, 0, 0},
		{second, 1, 11 * time.Second},
		{second, 2, 24 * time.Second},
		{second, 3, 39 * time.Second},
		{second, 10, 200 * time.Second},
		{second, 14, 336 * time.Second},
		{second, 999, 999 * 1009 * time.Second},
		{bounded, 1, 11 * time.Second},
		{bounded, 3, 39 * time.Second},
		{bounded, 4, 56 * time.Second},
		{bounded, 5, time.Minute},
		{bounded, 1000, time.Minute},
		{task.Policy{RetryUnit: 10 * time.Millisecond}, 7, 1190 * time.Millisecond},
		{task.Policy{RetryMax: time.Minute}, 7, 0}, // no unit: at once
	} {
		if got := c.policy.Delay(c.n); got != c.expected {
			t.Errorf("after failure %d with %+v the delay is %s, expected %s", c.n, c.policy, got, c.expected)
		}
	}
	huge := task.Policy{RetryUnit: math.MaxInt64, RetryJitter: 1}
	for n := range 1001 {
		if got := huge.Delay(n); got < 0 || n > 0 && got < 24*time.Hour {
			t.Fatalf("after failure %d the longest delay is %s", n, got)
		}
	}
}

func TestDelayVaries(t *testing.T) {
	t.Parallel()
	p := task.Policy{RetryUnit: time.Second, RetryMax: 20 * time.Second, RetryJitter: 0.25}
	for n, least := range map[int]time.Duration{1: 11 * time.Second, 9: 20 * time.Second} {
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range 5000 {
			d := p.Delay(n)
			low, high = min(low, d), max(high, d)
		}
		most := least + least/4
		if low < least || high > most {
			t.Errorf("after failure %d delays are from %s to %s, expected %s to %s", n, low, high, least, most)
		}
		if spread := float64(high - low); spread < 0.9*float64(most-least) {
			t.Errorf("after failure %d delays are from %s to %s only", n, low, high)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	t.Parallel()
	if err := task.DefaultPolicy().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names  string // "" is allowed
		change func(*task.Policy)
	}{
		{"max_attempts", func(p *task.Policy) { p.MaxAttempts = 0 }},
		{"", func(p *task.Policy) { p.MaxAttempts = 1 }},
		{"", func(p *task.Policy) { p.MaxAttempts = task.MaxAttemptsLimit }},
		{"max_attempts", func(p *task.Policy) { p.MaxAttempts = task.MaxAttemptsLimit + 1 }},
		{"retry_unit", func(p *task.Policy) { p.RetryUnit = -1 }},
		{"", func(p *task.Policy) { p.RetryUnit = 0 }},
		{"retry_max", func(p *task.Policy) { p.RetryMax = -1 }},
		{"retry_jitter", func(p *task.Policy) { p.RetryJitter = -0.1 }},
		{"retry_jitter", func(p *task.Policy) { p.RetryJitter = 1.1 }},
		{"", func(p *task.Policy) { p.RetryJitter = 1 }},
		{"timeout", func(p *task.Policy) { p.Timeout = 0 }},
		{"timeout", func(p *task.Policy) { p.Timeout = time.Microsecond }},
		{"", func(p *task.Policy) { p.Timeout = time.Millisecond }},
		{"", func(p *task.Policy) { p.Timeout = task.MaxTimeout }},
		{"timeout", func(p *task.Policy) { p.Timeout = task.MaxTimeout + 1 }},
		{"concurrency", func(p *task.Policy) { p.Concurrency = -1 }},
		{"max_postpones", func(p *task.Policy) { p.MaxPostpones = -1 }},
		{"", func(p *task.Policy) { p.Concurrency, p.MaxPostpones = 1, 0 }},
	} {
		p := task.DefaultPolicy()
		c.change(&p)
		err := p.Validate()
		if (err == nil) != (c.names == "") || err != nil && !strings.Contains(err.Error(), c.names) {
			t.Errorf("%+v gave %v, expected it to tell of %q", p, err, c.names)
		}
	}
	bad := task.Policy{MaxAttempts: -1, RetryUnit: -1, Timeout: -1, Concurrency: -1}.Validate()
	for _, name := range []string{"max_attempts", "retry_unit", "timeout", "concurrency"} {
		if bad == nil || !strings.Contains(bad.Error(), name) {
			t.Errorf("%v doesn't tell of %s", bad, name)
		}
	}
}

func TestPoliciesFor(t *testing.T) {
	t.Parallel()
	p := task.Policies{Default: task.Policy{MaxAttempts: 1}, Of: map[string]task.Policy{"own": {MaxAttempts: 2}}}
	if p.For("own").MaxAttempts != 2 || p.For("other").MaxAttempts != 1 {
		t.Errorf("own has %+v, others %+v", p.For("own"), p.For("other"))
	}
	if (task.Policies{}).For("any") != (task.Policy{}) {
		t.Error("no policies give one")
	}
}
