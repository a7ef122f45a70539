package cli

import (
	"fmt"
	"strings"

	"safelight/internal/dialect/native"
	"safelight/internal/origin"
	"safelight/internal/remote"
)

type signCommand struct {
	serverSettings `embed:""`
	URL            string   `arg:"" help:"Where the picture is."`
	Options        []string `arg:"" optional:"" help:"What is made of it: w=500 fit=cover, or w=500&fit=cover."`
}

// Run prints a path under http.public_url, signed with the first of remote.keys.
// What the server would refuse is refused here.
func (c *signCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	query := strings.Join(c.Options, "&")
	if _, err := native.Parse(query, cfg.Presets); err != nil {
		return err
	}
	if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
		return misuse("the options must be escaped as in a URL")
	}
	if err := origin.Check(cfg.Remote.Origin, c.URL); err != nil {
		return err
	}
	signer, err := remote.NewSigner(cfg.Remote.Shown)
	if err != nil {
		return err
	}
	path, err := signer.Sign(c.URL, query)
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSuffix(cfg.HTTP.PublicURL, "/") + path)
	return nil
}
