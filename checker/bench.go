package main

import (
	"flag"
	"os"
	"path/filepath"

	"iolab/checker/bench/options"
	"iolab/checker/runner"
)

const benchDetail = `A subject is a lesson (02: your server), its solution (solution/02), net (package net,
a goroutine for each connection) or gnet; flags for the server may follow in quotes, as
in "solution/03 -loops 2". Without one: your complete lessons, the solutions that are
native here, and net.

  bench               the subjects take turns; medians of the rounds; about a minute
  bench table         one row for each model: connections, latency, cost, how it runs here
  bench plots         measures and draws the figures that the lessons show
  bench scale         climbs until a limit is met, and names it
  bench compare A B   what changed between two results (default: the last two)

Messages a second, processor time and system calls are those of the window alone. Calls
are the server's own count of all its engine's calls, for its connections too (epoll_ctl,
accept, close); those of Go's runtime are not in it. In an open loop (-rate) what was due
and not answered in the window is said. A server that answers nothing for fifteen seconds,
or for five after the window, is a failure, as is one whose connections do not fit
RLIMIT_NOFILE.

Results are kept in .iolab/bench.`

func benchFlags(f *flag.FlagSet) { options.Define(f) }

// runBench runs the bench, which is a program of its own: it is also the load generator,
// and the map should not wait for it to be compiled.
func runBench(a *app, f *flag.FlagSet, args []string) error {
	pass := a.style()
	f.Visit(func(set *flag.Flag) {
		switch set.Name {
		case "json", "ascii", "no-color":
		case "plot":
			pass = append(pass, "-plot="+absolute(set.Value.String()))
		case "from":
			pass = append(pass, "-from="+absoluteFile(set.Value.String()))
		default:
			pass = append(pass, "-"+set.Name+"="+set.Value.String())
		}
	})
	for _, arg := range args {
		pass = append(pass, absoluteFile(arg))
	}
	return a.program("./checker/bench/bench", pass, runner.Careful) // scale puts sysctls back
}

// absolute is the path as seen from the root of the clone, where programs run.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// absoluteFile is arg, as absolute if it is a file and not the name of something else.
func absoluteFile(arg string) string {
	if info, err := os.Stat(arg); err != nil || !info.Mode().IsRegular() {
		return arg
	}
	return absolute(arg)
}
