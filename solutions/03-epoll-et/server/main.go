//go:build linux

// Command server is an echo server on edge-triggered epoll, on one loop or on several.
package main

import (
	"flag"
	"fmt"

	"iolab/lessons/engine"
	"iolab/lessons/engine/serve"
	epollet "iolab/solutions/03-epoll-et"
)

func main() {
	loops, shared := 1, false
	serve.Main(func(cfg engine.Config, h engine.Handler) (engine.Engine, error) {
		switch {
		case loops < 1:
			return nil, fmt.Errorf("-loops %d: it takes one at least", loops)
		case loops > 1 || shared:
			return epollet.NewLoops(loops, cfg, h)
		}
		return epollet.New(cfg, h)
	}, func(flags *flag.FlagSet) {
		flags.IntVar(&loops, "loops", loops, "serve on this many loops, each on a thread of its own; GOMAXPROCS should be at least as many")
		flags.BoolVar(&shared, "shared", false, "share the port with other processes of this server (SO_REUSEPORT)")
	})
}
