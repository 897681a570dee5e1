//go:build linux

// Command server is an echo server on io_uring, on one ring or on several.
package main

import (
	"flag"
	"fmt"

	"iolab/lessons/engine"
	"iolab/lessons/engine/serve"
	uringloop "iolab/solutions/06-io_uring"
)

func main() {
	rings := 1
	var o uringloop.Options
	serve.Main(func(cfg engine.Config, h engine.Handler) (engine.Engine, error) {
		switch {
		case rings < 1:
			return nil, fmt.Errorf("-loops %d: it takes one at least", rings)
		case rings > 1:
			return uringloop.NewLoops(rings, cfg, h, o)
		}
		return uringloop.NewWith(cfg, h, o)
	}, func(flags *flag.FlagSet) {
		flags.IntVar(&rings, "loops", rings, "serve on this many rings, each on a thread of its own")
		flags.BoolVar(&o.Direct, "direct", false, "connections need no descriptors: each ring has a table for as many as the process may have")
		flags.BoolVar(&o.SQPoll, "sqpoll", false, "a kernel thread takes the submissions; it needs a processor of its own")
	})
}
