//go:build linux

// Command server is an echo server on level-triggered epoll.
package main

import (
	"iolab/lessons/engine/serve"
	epolllt "iolab/solutions/02-epoll-lt"
)

func main() { serve.Main(epolllt.New) }
