//go:build linux

// Command server is an echo server on level-triggered epoll.
package main

import (
	epolllt "iolab/lessons/02-epoll-lt"
	"iolab/lessons/engine/serve"
)

func main() { serve.Main(epolllt.New) }
