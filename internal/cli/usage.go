package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"safelight/internal/client"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

// senseless is the exit status of a command line that makes no sense.
const senseless = 2

// usage is an error of the command line that kong does not find.
type usage struct{ error }

func misuse(message string, args ...any) error { return usage{fmt.Errorf(message, args...)} }

// newParser makes a parser of command lines into c.
func newParser(c *commands) (*kong.Kong, error) {
	return kong.New(c, kong.Name("safelight"),
		kong.Description("A self-hosted image platform: upload photos, get any rendition of them.\n\nEvery setting is also an environment variable: ingest.max_pages is SAFELIGHT_INGEST_MAX_PAGES."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
}

// complain says on one line what is wrong with a command line, and where to read
// more. It answers false for errors that are of another sort.
func complain(w io.Writer, ctx *kong.Context, err error) bool {
	var parse *kong.ParseError
	var own usage
	switch {
	case errors.As(err, &parse):
		ctx = parse.Context
	case !errors.As(err, &own):
		return false
	}
	command, text := "safelight", err.Error()
	if ctx != nil {
		for _, p := range ctx.Path {
			if p.Command != nil {
				command += " " + p.Command.Name
			}
		}
		if strings.HasPrefix(text, "expected one of ") { // kong leaves out some
			text = "expected one of " + strings.Join(children(ctx), ", ")
		}
	}
	fmt.Fprintf(w, "%s: %s; see %s --help\n", command, strings.TrimPrefix(text, command+": "), command)
	return true
}

// children are the commands that may follow what was given.
func children(ctx *kong.Context) []string {
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node
	}
	var names []string
	for _, child := range node.Children {
		names = append(names, child.Name)
	}
	return names
}

// lasting tells errors that the same command line would meet again: of the server's
// answer, the settings or a bucket.
func lasting(err error) bool {
	switch fault.Of(err) {
	case fault.Invalid, fault.Unauthenticated, fault.Denied:
		return true
	}
	return client.Lasting(err) || objectblob.Lasting(err)
}
