package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, printed, options string }{
		{"redis://h", "redis://h:6379", "[h:6379]/0"},
		{"redis://:se%40cret@h:1/3", "redis://:xxxxx@h:1/3", "[h:1]/3 pass"},
		{"rediss://me:secret@h", "rediss://me:xxxxx@h:6379", "[h:6379]/0 user pass tls"},
		{"redis://[::1]:7/", "redis://[::1]:7", "[[::1]:7]/0"},
		{"redis+cluster://:se%40cret@a:1,b,c:3", "redis+cluster://:xxxxx@a:1,b:6379,c:3", "[a:1 b:6379 c:3]/0 pass cluster"},
		{"redis+sentinel://me:secret@a,b:2/main/4?sentinel_password=secret%40", "redis+sentinel://me:xxxxx@a:26379,b:2/main/4?sentinel_password=xxxxx", "[a:26379 b:2]/4 user pass master=main"},
		{"rediss+sentinel://a/main?skip_verify=true", "rediss+sentinel://a:26379/main?skip_verify=true", "[a:26379]/0 tls unverified master=main"},
	} {
		a, err := URL(c.url).parse()
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		o := a.options()
		got := fmt.Sprintf("%v/%d", o.InitAddress, o.SelectDB)
		for _, has := range []struct {
			is   bool
			text string
		}{
			{o.Username == "me", " user"}, {o.Password == "secret" || o.Password == "se@cret", " pass"}, {o.TLSConfig != nil, " tls"},
			{o.TLSConfig != nil && o.TLSConfig.InsecureSkipVerify, " unverified"},
			{o.Sentinel.MasterSet != "", " master=" + o.Sentinel.MasterSet}, {o.ClusterOption.ShardsRefreshInterval > 0, " cluster"},
		} {
			if has.is {
				got += has.text
			}
		}
		if got != c.options {
			t.Errorf("%s gives %q, expected %q", c.url, got, c.options)
		}
		for _, printed := range []string{URL(c.url).String(), fmt.Sprintf("%v %+v %#v %s", URL(c.url), URL(c.url), URL(c.url), URL(c.url))} {
			if strings.Contains(printed, "secret") && !strings.Contains(printed, "sentinel_password=xxxxx") || !strings.HasPrefix(printed, c.printed) {
				t.Errorf("%s prints as %q, expected %q", c.url, printed, c.printed)
			}
		}
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.URL = "http://:secret@h" }, "redis.url: this can't be understood; expected redis://"},
		{func(c *Config) { c.URL = "h:6379:secret" }, "redis.url: this can't be understood"},
		{func(c *Config) { c.URL = "redis+other://:secret@h" }, "redis.url: this can't be understood"},
		{func(c *Config) { c.URL = "redis://:sec%ret@h" }, "redis.url: this can't be understood"},
		{func(c *Config) { c.URL = "redis://:secret@h:port" }, "redis.url: one of the hosts"},
		{func(c *Config) { c.URL = "redis://:secret@h:0" }, "redis.url: one of the hosts"},
		{func(c *Config) { c.URL = "redis://" }, "redis.url: one of the hosts"},
		{func(c *Config) { c.URL = "redis://:secret@a,b" }, "several hosts need redis+cluster:// or redis+sentinel://"},
		{func(c *Config) { c.URL = "redis://:secret@h/one" }, "the number of a database"},
		{func(c *Config) { c.URL = "redis+cluster://:secret@h/1" }, "a cluster has the database 0 only"},
		{func(c *Config) { c.URL = "redis+sentinel://:secret@h" }, "must name the master"},
		{func(c *Config) { c.URL = "redis+sentinel://:secret@h/m/x" }, "the number of a database"},
		{func(c *Config) { c.URL = "redis://:secret@h?pool=3" }, `there is no parameter "pool"`},
		{func(c *Config) { c.URL = "rediss://:secret@h?skip_verify=perhaps" }, "skip_verify must be true or false"},
		{func(c *Config) { c.Timeout = 0 }, "redis.timeout: 0s is not from 1ms to 5s"},
		{func(c *Config) { c.Timeout = time.Minute }, "redis.timeout: 1m0s is not"},
		{func(c *Config) { c.Prefix = "a{b}" }, "redis.prefix"},
		{func(c *Config) { c.Prefix = strings.Repeat("x", 65) }, "redis.prefix"},
	} {
		config := DefaultConfig()
		config.URL = "redis://:secret@h"
		c.change(&config)
		err := config.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%ret") {
			t.Errorf("%v gives %v, expected %q", config.URL, err, c.want)
		}
		if s := config.URL.String(); strings.Contains(s, "secret") || strings.Contains(s, "sec%ret") {
			t.Errorf("%s shows the password", s)
		}
	}
	if err := (Config{Timeout: -1}).Validate(); err != nil {
		t.Errorf("without a URL: %v", err)
	}
}
