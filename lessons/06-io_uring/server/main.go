//go:build linux

// Command server is an echo server on io_uring.
package main

import (
	uringloop "iolab/lessons/06-io_uring"
	"iolab/lessons/engine/serve"
)

func main() { serve.Main(uringloop.New) }
