package task

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Policy is how tasks of a function are treated.
type Policy struct {
	MaxAttempts  int           `koanf:"max_attempts"`
	RetryUnit    time.Duration `koanf:"retry_unit"`    // failure n waits n·(10+n) of these
	RetryMax     time.Duration `koanf:"retry_max"`     // and never longer; 0 is no bound
	RetryJitter  float64       `koanf:"retry_jitter"`  // up to this fraction is added at random, 0 to 1
	Timeout      time.Duration `koanf:"timeout"`       // of one attempt
	Concurrency  int           `koanf:"concurrency"`   // attempts that run at once, on all nodes; 0 is no bound
	MaxPostpones int           `koanf:"max_postpones"` // later() beyond this counts as a failure
	Worker       bool          `koanf:"worker"`        // left to workers outside, never carried out by the server itself
	OnDead       string        `koanf:"-"`             // function to submit with the same arguments when a task ends dead
}

// DefaultPolicy is what is in force where nothing is configured.
func DefaultPolicy() Policy {
	return Policy{MaxAttempts: 15, RetryUnit: time.Second, Timeout: time.Hour, MaxPostpones: 1000}
}

// Validate tells what is wrong with a policy.
func (p Policy) Validate() error {
	var errs []error
	if p.MaxAttempts < 1 || p.MaxAttempts > MaxAttemptsLimit {
		errs = append(errs, fmt.Errorf("max_attempts: %d is not from 1 to %d", p.MaxAttempts, MaxAttemptsLimit))
	}
	if p.RetryUnit < 0 || p.RetryMax < 0 || p.RetryJitter < 0 || p.RetryJitter > 1 {
		errs = append(errs, errors.New("retry_unit and retry_max must not be negative, and retry_jitter from 0 to 1"))
	}
	if p.Timeout < time.Millisecond || p.Timeout > MaxTimeout {
		errs = append(errs, fmt.Errorf("timeout: %s is not from 1ms to %s", p.Timeout, MaxTimeout))
	}
	if p.Concurrency < 0 || p.MaxPostpones < 0 {
		errs = append(errs, errors.New("concurrency and max_postpones must not be negative"))
	}
	return errors.Join(errs...)
}

// Delay is how long to wait after the n-th failure: n·(10+n) units, at most
// RetryMax, and up to RetryJitter of it more. It is 0 for n below 1.
func (p Policy) Delay(n int) time.Duration {
	if n < 1 {
		return 0
	}
	d := float64(n) * float64(10+n) * float64(p.RetryUnit)
	if p.RetryMax > 0 {
		d = min(d, float64(p.RetryMax))
	}
	d *= 1 + p.RetryJitter*rand.Float64()
	return time.Duration(min(d, float64(math.MaxInt64/2)))
}

// Policies are those of functions by name, and the one for all others. They
// don't change once a queue has them.
type Policies struct {
	Default Policy
	Of      map[string]Policy
}

// For is the policy of a function.
func (p Policies) For(function string) Policy {
	if own, ok := p.Of[function]; ok {
		return own
	}
	return p.Default
}
