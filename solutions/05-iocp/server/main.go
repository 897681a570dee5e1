//go:build linux || windows

// Command server is an echo server on I/O completion ports.
package main

import (
	"iolab/lessons/engine/serve"
	iocploop "iolab/solutions/05-iocp"
)

func main() { serve.Main(iocploop.New) }
