// Package cli is the command line: safelight serve, import, optimize, sign,
// version, config, migrate, copy, tasks, nodes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"safelight/internal/app"
	"safelight/internal/codec"
	"safelight/internal/codec/wire"
	"safelight/internal/codec/worker"
	"safelight/internal/config"
	"safelight/internal/guetzli"
	"safelight/internal/node"
	"safelight/internal/telemetry"
)

// Version is set by the build.
var Version = "dev"

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Take uploads and answer with renditions."`
	Import   importCommand   `cmd:"" help:"Take a directory or a bucket full of pictures into a running server."`
	Optimize optimizeCommand `cmd:"" help:"Make picture files smaller at a quality that is measured; needs no server."`
	Sign     signCommand     `cmd:"" help:"Print the signed path that shows a picture at a URL."`
	Version  versionCommand  `cmd:"" help:"Show the versions of Safelight, libvips and each codec."`
	Config   configCommand   `cmd:"" help:"Show the configuration in force, and what is wrong with it."`
	Migrate  migrateCommand  `cmd:"" help:"Carry the catalog and the tasks over from SQLite to PostgreSQL."`
	Copy     copyCommand     `cmd:"" help:"Copy all pictures of a home store into another, such as a bucket."`
	Tasks    tasksCommand    `cmd:"" help:"Look at the tasks of a running server, and submit, retry and cancel them."`
	Nodes    nodesCommand    `cmd:"" help:"List the nodes that share a running server's database."`
}

// settings are the flags that every command which reads the configuration has.
type settings struct {
	Config string `help:"Configuration file (YAML)." env:"SAFELIGHT_CONFIG" type:"path" placeholder:"FILE"`
	Data   string `help:"Directory for everything that is stored (default ./data)." type:"path" placeholder:"DIR"`
}

func (s settings) load() (config.Config, error) { return s.loadFor("") }

// loadFor reads the configuration of a server that listens on an address; "" is what
// the configuration says.
func (s settings) loadFor(listen string) (config.Config, error) {
	c, err := config.Load(s.Config, config.Environ())
	if err != nil {
		return c, err
	}
	if listen != "" {
		c.Listen = listen
	}
	if s.Data != "" {
		c.Data = s.Data
	}
	return c, c.Validate()
}

// serverSettings are those of commands that are, or tell of, a server.
type serverSettings struct {
	settings `embed:""`
	Listen   string `help:"Address to listen on (default 127.0.0.1:8080)." placeholder:"ADDR"`
}

func (s serverSettings) load() (config.Config, error) { return s.loadFor(s.Listen) }

// Main runs a command line and answers the exit status.
func Main(args []string) int {
	if len(args) == 1 && args[0] == "codec" {
		return worker.Main() // nothing of the command line is needed there
	}
	if len(args) > 0 && args[0] == guetzli.LaunchArgument {
		return guetzli.Launch(args[1:])
	}
	var c commands
	parser, err := newParser(&c)
	if err != nil {
		return fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err == nil {
		err = ctx.Run()
	}
	switch {
	case err == nil:
		return 0
	case complain(os.Stderr, ctx, err):
		return senseless
	}
	return fail(err)
}

// ended is the exit status of a command that has said all there is to say.
type ended int

func (e ended) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func fail(err error) int {
	var status ended
	if errors.As(err, &status) {
		return int(status)
	}
	fmt.Fprintln(os.Stderr, "safelight:", err)
	return 1
}

type serveCommand struct {
	serverSettings `embed:""`
	Role           string `help:"What this node is for: all, api or worker (default all)." placeholder:"ROLE"`
}

// lastResort ends a stop that hangs so long after requests have had their time,
// so that it takes 5 s more than that in all.
const lastResort = 4 * time.Second

// Run serves until SIGINT or SIGTERM; a second one stops at once.
func (c *serveCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if c.Role != "" {
		cfg.Role = node.Role(c.Role)
		if err := cfg.Validate(); err != nil {
			return err
		}
	}
	log := telemetry.Logger(os.Stderr, cfg.Log)
	signal.Ignore(syscall.SIGPIPE) // whoever read the log may leave; the server stays
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	a, err := app.Open(ctx, cfg, Version, log)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		stop() // from then on a signal kills
		time.AfterFunc(cfg.HTTP.DrainDelay+cfg.HTTP.DrainTime+lastResort, func() { os.Exit(fail(errors.New("the stop took too long; what was left is cut off"))) })
	})
	err = a.Run(ctx, func(addr net.Addr) {
		fmt.Fprintf(os.Stderr, "Safelight is at http://%s\n", addr)
	})
	if err = errors.Join(err, a.Close()); err == nil {
		log.Info("stopped")
	}
	return err
}

type versionCommand struct {
	serverSettings `embed:""`
}

// Run asks a codec process what it has.
func (c *versionCommand) Run() error {
	fmt.Println("safelight", Version)
	cfg, err := c.load()
	if err != nil {
		return err
	}
	info, err := codec.Version(context.Background(), cfg.Codec)
	if err != nil {
		return err
	}
	printCodecs(info)
	if info.Fallback != nil {
		fmt.Println("\nfor formats that this lacks (codec.vips_fallback):")
		printCodecs(*info.Fallback)
	}
	return nil
}

func printCodecs(info wire.Info) {
	fmt.Printf("%-14s%s\n", "libvips", info.Libvips)
	for _, l := range info.Libraries {
		fmt.Printf("%-14s%s\n", l.Name, l.Version)
	}
	for _, line := range []struct{ name, text string }{
		{"reads", strings.Join(info.Reads, " ")}, {"writes", strings.Join(info.Writes, " ")},
		{"features", strings.Join(info.Features, " ")}, {"sandbox", info.Sandbox.String()},
	} {
		fmt.Printf("%-14s%s\n", line.name, line.text)
	}
}

type configCommand struct {
	serverSettings `embed:""`
}

// Run prints the configuration in force.
func (c *configCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	return cfg.Print(os.Stdout)
}
