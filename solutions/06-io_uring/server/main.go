//go:build linux

// Command server is an echo server on io_uring.
package main

import (
	"iolab/lessons/engine/serve"
	uringloop "iolab/solutions/06-io_uring"
)

func main() { serve.Main(uringloop.New) }
