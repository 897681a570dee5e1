//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

// Command server is the echo server of lesson 04, on the engine you write.
package main

import (
	kqueueloop "iolab/lessons/04-kqueue"
	"iolab/lessons/engine/serve"
)

func main() { serve.Main(kqueueloop.New) }
