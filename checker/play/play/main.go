// Command play is what `go run ./checker play` runs.
package main

import (
	"os"

	"iolab/checker/play"
)

func main() { os.Exit(play.Main(os.Args[1:])) }
