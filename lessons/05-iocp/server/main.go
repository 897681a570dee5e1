//go:build linux || windows

// Command server is an echo server on I/O completion ports.
package main

import (
	iocploop "iolab/lessons/05-iocp"
	"iolab/lessons/engine/serve"
)

func main() { serve.Main(iocploop.New) }
