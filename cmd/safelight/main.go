// Command safelight is a self-hosted image platform in one binary.
package main

import (
	"os"

	"safelight/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
