//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

// Command server is the complete echo server of lesson 04.
package main

import (
	"iolab/lessons/engine/serve"
	kqueueloop "iolab/solutions/04-kqueue"
)

func main() { serve.Main(kqueueloop.New) }
